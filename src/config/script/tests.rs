#![expect(clippy::disallowed_methods, reason = "files are written to be evaluated")]

use std::path::PathBuf;

use super::*;
use crate::config::problem::{Report, Severity};
use crate::config::{Colour, ConfigError, Loaded, Options, Probe, SystemProbe, load};

/// Where `node` is; none where a test cannot run, which under CI is a failure.
fn node() -> Option<PathBuf> {
    let node = SystemProbe.on_path("node", None);
    let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(node.is_some() || !is_ci, "`node` is missing, and this is CI");
    if node.is_none() {
        eprintln!("skipped: `node` is not installed");
    }
    node
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What a file means, or its only problem, rendered without the folder's name.
    fn outcome(&self, name: &str, text: &str) -> Result<Loaded, String> {
        let path = self.write(name, text);
        load(&path, &Options::default()).map_err(|error| {
            let report = error.report().unwrap().render(Colour::Never, 100);
            report.replace(&self.0.path().display().to_string(), "/p")
        })
    }

    #[track_caller]
    fn apps(&self, name: &str, text: &str) -> Vec<String> {
        let loaded = self.outcome(name, text).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(loaded.warnings.count(Severity::Error), 0);
        loaded.apps.into_iter().map(|app| app.name).collect()
    }
}

#[test]
fn every_way_to_export_apps_is_understood() {
    if node().is_none() {
        return;
    }
    let folder = Folder::new();
    folder.write("app.js", "");
    let app = "{ name: 'a' + 1, script: 'app.js' }";
    for (name, text) in [
        ("x.config.js", format!("module.exports = {{ apps: [{app}] }}")),
        ("x.config.cjs", format!("exports.apps = [{app}]")),
        ("x.config.js", format!("module.exports = [{app}]")),
        ("x.config.js", format!("module.exports = {app}")),
        ("x.config.js", format!("module.exports = {{ apps: {app} }}")),
        ("x.config.js", format!("module.exports = () => ({{ apps: [{app}] }})")),
        ("x.config.js", format!("module.exports = async () => async () => ({{ apps: [{app}] }})")),
        ("x.config.js", format!("module.exports = Promise.resolve({{ apps: [{app}] }})")),
        ("x.config.js", format!("Object.assign(exports, {{ __esModule: true, default: {{ apps: [{app}] }} }})")),
        ("x.config.mjs", format!("export default {{ apps: [{app}] }}")),
        ("x.config.mjs", format!("export const apps = [{app}]")),
        ("x.config.mjs", format!("const apps = await Promise.resolve([{app}]); export default {{ apps }}")),
    ] {
        assert_eq!(folder.apps(name, &text), ["a1"], "{text}");
    }
    folder.write("package.json", r#"{ "type": "module" }"#);
    assert_eq!(folder.apps("y.config.js", &format!("export default {{ apps: [{app}] }}")), ["a1"]);
}

#[test]
fn what_a_file_prints_does_not_disturb() {
    if node().is_none() {
        return;
    }
    let folder = Folder::new();
    let text = "console.log('{\"values\":\"[]\"}'); process.stdout.write('x'); process.stdin.on('data', () => {});\n\
        setInterval(() => {}, 1000);\n\
        module.exports = { apps: [{ name: __dirname === process.cwd() ? 'here' : 'there', script: 'ls' }] }";
    assert_eq!(folder.apps("x.config.js", text), ["here"]);
}

#[test]
fn errors_are_cited_where_they_happen() {
    if node().is_none() {
        return;
    }
    let folder = Folder::new();
    folder.write("broken.js", "\n\nthrow new RangeError('too far')\n");
    for (name, text, message, place) in [
        ("a.config.js", "module.exports = {\n  apps: [{ script: 'a' name: 1 }]\n}", "SyntaxError: ", ":2:24]"),
        ("b.config.mjs", "export default {\n  apps: nope()\n}", "ReferenceError: nope is not defined", ":2:9]"),
        ("c.config.mjs", "export default {\n  apps: [1 2]\n}", "SyntaxError: Unexpected number", ":2:12]"),
        ("d.config.js", "\nrequire('./gone')", "Error: Cannot find module './gone'", ":2:1]"),
        ("e.config.js", "\n\nrequire('./broken')", "RangeError: too far", ":3:1]"),
        ("f.config.js", "throw 'words'", "it throws 'words'", ""),
        ("g.config.js", "module.exports = async () => { throw new Error('late') }", "Error: late", ":1:38]"),
        ("h.config.js", "process.exit(3)", "it ends the process by itself, with code 3", ""),
        ("i.config.js", "module.exports = new Promise(() => {})", "never settled", ""),
        ("j.config.js", "const a = {}; a.a = a; module.exports = { apps: a }", "apps.a contains itself", ""),
        ("k.config.js", "module.exports = undefined", "it exports nothing", ""),
    ] {
        let report = folder.outcome(name, text).unwrap_err();
        assert!(report.contains(message) && report.contains(place), "{name} {message} {place}\n{report}");
    }
    let report = folder.outcome("e.config.js", "require('./broken')").unwrap_err();
    assert!(report.contains("broken.js:3:7"), "{report}");
    let report = folder.outcome("k.config.cjs", "export default {}").unwrap_err();
    assert!(report.contains("let its name end in `.config.mjs`"), "{report}");
}

#[test]
fn a_thrown_error_reads_like_every_other_problem() {
    if node().is_none() {
        return;
    }
    let text = "const { port } = require('./settings');\nmodule.exports = { apps: [{ script: 'ls', port }] };\n";
    let folder = Folder::new();
    folder.write(
        "settings.js",
        "const url = process.env.NOT_SET_AT_ALL;\nif (!url) throw new Error('NOT_SET_AT_ALL is missing');\n",
    );
    insta::assert_snapshot!(folder.outcome("ecosystem.config.js", text).unwrap_err());
}

#[test]
fn problems_of_values_are_cited_by_their_path() {
    if node().is_none() {
        return;
    }
    let text = "module.exports = { apps: [\n  { name: 'a', script: 'ls', hook() {} },\n\
        \x20 { name: 'b', script: 'ls', max_restarts: Infinity, ignore_watch: [/tmp/] },\n] }";
    insta::assert_snapshot!(Folder::new().outcome("ecosystem.config.js", text).unwrap_err());
}

#[test]
fn a_file_that_goes_on_for_ever_is_ended() {
    let Some(node) = node() else { return };
    let folder = Folder::new();
    let path = folder.write("x.config.js", "for (;;) {}");
    let problem = evaluate(node.as_os_str(), &path, "", Duration::from_millis(700)).unwrap_err();
    assert_eq!(problem.message, "evaluating the file took longer than 0.7 s");
}

#[test]
fn more_values_than_a_file_may_have_are_refused() {
    if node().is_none() {
        return;
    }
    let text = "module.exports = { apps: [{ script: 'x'.repeat(5e6) }] }";
    let report = Folder::new().outcome("x.config.js", text).unwrap_err();
    assert!(report.contains("its values have more than 4 MiB"), "{report}");
}

#[test]
fn a_missing_node_is_told_with_the_way_out() {
    let path = Path::new("/p/x.config.js");
    let problem = evaluate(OsStr::new("/gone/node"), path, "", LIMIT).unwrap_err();
    let report = ConfigError::Invalid(Report::new(path, "", vec![*problem]));
    assert_eq!(report.to_failure().code(), crate::error::ExitCode::InvalidConfig);
    assert!(report.report().unwrap().problems()[0].message.starts_with("`node` cannot be run: No such file"));
}
