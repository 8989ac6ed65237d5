//! The other forms of a declaration: JSON, YAML, names with their environment, and the verb that serves a folder.

use crate::harness::{Rsx, command_of, free_port, get};

#[test]
fn json_and_yaml_say_the_same_as_toml() {
    let rsx = Rsx::new();
    rsx.write(
        "eco.json",
        "{ /* as PM2 allows it */ \"apps\": [{ \"name\": \"j\", \"script\": \"sleep\", \"args\": [\"1000\"], \"minUptime\": 50, }] }",
    );
    rsx.write("eco.yaml", "apps:\n  - name: y\n    script: sleep\n    args: '1000'\n    min_uptime: 50\n");
    rsx.ok("start eco.json eco.yaml");
    for name in ["j", "y"] {
        assert_eq!(rsx.state(name), "online");
        assert_eq!(command_of(rsx.pid(name)), ["sleep", "1000"]);
    }
    rsx.ok("stop eco.yaml");
    assert_eq!((rsx.state("j").as_str(), rsx.state("y").as_str()), ("online", "stopped"));
    rsx.ok("delete eco.json eco.yaml");
    assert!(rsx.apps().is_empty());
}

#[test]
fn one_app_can_run_in_two_environments_side_by_side() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"web\"\nscript = \"sleep 1000\"\nmin_uptime = 50\nappend_env_to_name = true\n\
         env_dev = { A = \"1\" }\nenv_prod = { A = \"2\" }\n",
    );
    rsx.ok("start ecosystem.toml --env dev");
    rsx.ok("start ecosystem.toml --env prod");
    assert_eq!((rsx.state("web-dev").as_str(), rsx.state("web-prod").as_str()), ("online", "online"));
}

#[test]
fn a_folder_is_served_as_an_app_and_its_password_is_on_no_command_line() {
    let rsx = Rsx::new();
    rsx.write("index.html", "<h1>hello</h1>");
    let (open, closed) = (free_port(), free_port());
    rsx.ok(&format!("serve . {open} --name open"));
    assert!(get(open, "/").contains("<h1>hello</h1>"));
    assert!(get(open, "/gone").starts_with("HTTP/1.1 404"));
    rsx.ok(&format!("serve . {closed} --name closed --spa --basic-auth me:hunter2"));
    assert!(get(closed, "/").starts_with("HTTP/1.1 401"));
    assert!(!command_of(rsx.pid("closed")).join(" ").contains("hunter2"));
    assert!(!rsx.ok("describe closed --json").out.contains("hunter2"));
    rsx.fails(1, "serve ./gone 1");
    rsx.ok("stop all");
}
