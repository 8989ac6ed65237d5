//! `listen`: what may be written, and what does not go with it.

use crate::config::Format;
use crate::config::tests::{app, messages, rendered};
use crate::spec::{Balance, Capture, ListenAddress, ListenSpec};

fn of(keys: &str) -> Vec<ListenSpec> {
    app(&format!("script = 'app.js'\n{keys}")).listen
}

#[test]
fn a_socket_is_an_address_or_a_table_with_one() {
    let all = of("listen = ['tcp://0.0.0.0:3000', 'tcp://[::]:3000', 'unix:///run/api.sock', 'unix:x.sock', \
         { address = 'unix://~/a.sock', name = 'api', mode = '0660', user = 'www-data', group = 33, backlog = 10 }]");
    let shown: Vec<String> = all.iter().map(|socket| format!("{} {}", socket.address, socket.name)).collect();
    assert_eq!(shown[..3], ["tcp://0.0.0.0:3000 3000", "tcp://[::]:3000 3000", "unix:///run/api.sock api.sock"]);
    assert!(shown[3].ends_with("/x.sock x.sock") && shown[4].ends_with("/a.sock api"), "{shown:?}");
    assert!(matches!(all[1].address, ListenAddress::Tcp { v6_only: true, .. }));
    let ListenSpec { mode, user, group, backlog, .. } = &all[4];
    assert_eq!((*mode, user.as_deref(), group.as_deref(), *backlog), (Some(0o660), Some("www-data"), Some("33"), 10));
    for one in ["'tcp://127.0.0.1:80'", "{ address = 'tcp://127.0.0.1:80' }"] {
        assert_eq!(of(&format!("listen = {one}")).len(), 1, "{one}");
    }
    assert_eq!(of("listen = []"), []);
}

#[test]
fn instances_with_sockets_have_one_queue_and_no_port_is_captured() {
    let spec = app("script = 'app.js'\ninstances = 2\nlisten = 'tcp://0.0.0.0:80'");
    assert_eq!((spec.cluster.capture, spec.cluster.balance), (Capture::Off, Balance::Shared));
    let spec = app("script='app.js'\ninstances=2\nlisten='tcp://0.0.0.0:80'\ncapture=[90]\nbalance='least'");
    assert_eq!((spec.cluster.capture, spec.cluster.balance), (Capture::Ports([90].into()), Balance::Least));
    for keys in ["balance = 'shared'", "capture = 'off'"] {
        app(&format!("script='app.js'\ninstances=2\nlisten='tcp://0.0.0.0:80'\n{keys}"));
    }
}

#[test]
fn a_place_for_a_number_names_a_socket() {
    for keys in [
        "args = ['{fd}']\nlisten = 'tcp://0.0.0.0:80'",
        "args = ['{fd:a}', '{fd:90}']\nlisten = [{ address = 'tcp://0.0.0.0:80', name = 'a' }, 'tcp://0.0.0.0:90']",
        // Nothing is meant by it.
        "args = ['{fd}', '{fd:x}']",
    ] {
        app(&format!("script = 'app.js'\n{keys}"));
    }
    for (keys, message) in [
        ("args = ['{fd:web}']\nlisten = 'tcp://0.0.0.0:80'", "no socket is called `web`"),
        (
            "args = ['{fd}']\nlisten = ['tcp://0.0.0.0:80', 'tcp://0.0.0.0:81']",
            "`{fd}` stands for one of several sockets",
        ),
        ("node_args = ['{fd:80}']\nlisten = ['tcp://0.0.0.0:80', 'tcp://[::]:80']", "several sockets are called `80`"),
    ] {
        assert_eq!(messages(&format!("[[apps]]\nscript='app.js'\n{keys}"), Format::Toml), [message], "{keys}");
    }
    let line = "[[apps]]\nscript='serve --fd {fd:x}'\nlisten = 'tcp://0.0.0.0:80'";
    assert_eq!(messages(line, Format::Toml), ["no socket is called `x`"]);
}

#[test]
fn what_is_wrong_is_cited_with_what_would_be_right() {
    let long = format!("unix:///{}", "x".repeat(107));
    let text = format!(
        "[[apps]]\nscript = 'app.js'\nlisten = [\n'3000',\n'tcp://localhost:3000',\n'tcp://0.0.0.0',\n'tcp://0.0.0.0:0',\n\
         'udp://0.0.0.0:53',\n'unix://@name',\n'unix:///run/',\n'{long}',\n{{ name = 'a' }},\n\
         {{ address = 'tcp://0.0.0.0:80', mode = '0660' }},\n{{ address = 'unix:///run/a', name = 'a:b' }},\n\
         {{ address = 'tcp://0.0.0.0:81' }}, 'tcp://0.0.0.0:81',\n]\n"
    );
    insta::assert_snapshot!(rendered(&text, Format::Toml));
}

#[test]
fn what_fits_no_kind_is_refused_for_that() {
    for (list, message) in [
        ("[3.5, ['x']]", "`listen` cannot be a list"),
        ("{ address = 'unix:///a', mode = 660 }", "`listen.mode` cannot be `660`"),
        ("{ address = 'unix:///a', mode = '888' }", "`listen.mode` cannot be `888`"),
        ("{ addres = 'unix:///a' }", "unknown key `addres` in `listen`"),
        ("{ address = 'tcp://0.0.0.0:80', backlog = 0 }", "`listen.backlog` cannot be `0`"),
    ] {
        let found = messages(&format!("[[apps]]\nscript='app.js'\nlisten = {list}"), Format::Toml);
        assert!(found.iter().any(|found| found.starts_with(message)), "{list}: {found:?}");
    }
}

#[test]
fn keys_that_do_not_go_with_sockets_are_cited() {
    let app = |keys: &str| format!("[[apps]]\nscript = 'app.js'\nlisten = 'tcp://0.0.0.0:80'\n{keys}\n");
    let text = [
        app("name = 'a'\ninstances = 2\nbalance = 'source-ip'"),
        app("name = 'b'\ninstances = 2\nweights = [3, 1]"),
        app("name = 'c'\ninstances = 2\ncapture = 'auto'"),
        app("name = 'd'\ninstances = 2\ncapture = [80]"),
        app("name = 'e'\ninstances = 2\nhealth = { http = '/health' }"),
        app("name = 'f'").replace("app.js", "rsx:serve"),
    ];
    insta::assert_snapshot!(rendered(&text.concat(), Format::Toml));
}
