//! The main job: a file is started, looked at, used, and stopped.

use crate::harness::{Rsx, free_port, get};

#[test]
fn a_file_is_started_ready_and_every_verb_shows_the_same() {
    let (rsx, port) = (Rsx::new(), free_port());
    rsx.write("site/index.html", "hello from the site");
    rsx.ecosystem(&format!(
        "[[apps]]\nname = \"web\"\nscript = \"rsx:serve\"\nargs = [\"site\"]\nport = {port}\n\
         [[apps]]\nname = \"worker\"\nscript = \"sleep 1000\"\n"
    ));
    rsx.ok("start ecosystem.toml").prints(&["+ web: new", "+ worker: new", "online"]);
    assert!(get(port, "/").contains("hello from the site"));
    let (web, worker) = (rsx.pid("web"), rsx.pid("worker"));
    rsx.ok("ls").prints(&["web", "worker", &web.to_string(), &worker.to_string()]);
    let jlist = rsx.ok("jlist").json();
    assert_eq!((&jlist[0]["name"], &jlist[0]["pid"]), (&"web".into(), &web.into()));
    assert_eq!(jlist[1]["pm2_env"]["status"], "online");
    rsx.ok("describe web").prints(&["web", &web.to_string(), "online"]);
    assert_eq!(rsx.ok("pid web").out, format!("{web}\n"));
    assert_eq!(rsx.ok("pid").out, format!("{web}\n{worker}\n"));
    rsx.ok("stop all");
    assert_eq!((rsx.state("web"), rsx.processes().len()), ("stopped".into(), 0));
    rsx.ok("delete all");
    assert_eq!(rsx.apps().len(), 0);
}
