//! What a program writes is kept as it came.

use std::fs;

use crate::harness::{Rsx, requires};

#[test]
fn a_megabyte_is_written_as_it_came() {
    if !requires("python3") {
        return;
    }
    let rsx = Rsx::new();
    // Every byte there is: no valid UTF-8, NULs, carriage returns, lines without end.
    let bytes: Vec<u8> = (0..1_048_576u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    rsx.write("bytes", &bytes);
    rsx.write("flood.py", "import os, time\ndata = open('bytes', 'rb').read()\nat = 0\nwhile at < len(data):\n    at += os.write(1, data[at:])\nopen('up', 'w').write('up\\n')\ntime.sleep(1000)\n");
    rsx.ok("start flood.py --min-uptime 300 --kill-timeout 2s");
    rsx.wait_for_word("up");
    rsx.ok("stop flood");
    rsx.wait_for_bytes(&rsx.log("flood-out.log"), |log| log == bytes);
    assert_eq!(fs::read(rsx.log("flood-error.log")).unwrap(), b"");
}

#[test]
fn what_is_written_just_before_the_exit_is_all_there() {
    let rsx = Rsx::new();
    let text: String = (0..20_000).map(|n| format!("{n:09}\n")).collect();
    rsx.write("text", &text);
    rsx.ok("start 'sleep 1; cat text; exit 3' --name a --min-uptime 100 --no-autorestart");
    rsx.events().wait_for("a", "stopped");
    rsx.wait_for_bytes(&rsx.log("a-out.log"), |log| log == text.as_bytes());
}

#[test]
fn both_streams_have_files_of_their_own() {
    let rsx = Rsx::new();
    rsx.ecosystem(
        "[[apps]]\nname = \"a\"\nscript = \"echo to out; echo to error >&2; exec sleep 1000\"\n\
         [[apps]]\nname = \"b\"\nscript = \"echo to out; echo to error >&2; exec sleep 1000\"\nnamespace = \"n\"\n\
         out_file = \"mine/b.log\"\nerror_file = \"/dev/null\"\n",
    );
    rsx.ok("start ecosystem.toml");
    rsx.wait_for_text(&rsx.log("a-out.log"), |text| text == "to out\n");
    rsx.wait_for_text(&rsx.log("a-error.log"), |text| text == "to error\n");
    rsx.wait_for_text(&rsx.scratch().join("mine/b.log"), |text| text == "to out\n");
    let names = fs::read_dir(rsx.home().join("logs")).unwrap().map(|entry| entry.unwrap().file_name());
    // Beside each file there is an index of times, whose name begins with a dot.
    assert_eq!(names.filter(|name| !name.as_encoded_bytes().starts_with(b".")).count(), 2);
}

#[test]
fn a_program_may_close_its_streams_and_go_on() {
    let rsx = Rsx::new();
    rsx.script("app.sh", "exec <&- >&- 2>&-\necho up > up\nexec sleep 1000\n");
    rsx.ok("start app.sh --min-uptime 200 --kill-timeout 2s");
    let pid = rsx.pid("app");
    rsx.wait_for_word("up");
    rsx.ok("restart app");
    assert_eq!((rsx.state("app"), rsx.processes().len()), ("online".into(), 1));
    assert_ne!(rsx.pid("app"), pid);
}

#[test]
fn a_program_has_no_terminal() {
    let rsx = Rsx::new();
    rsx.ok("start 'test -t 0 -o -t 1 && echo terminal; echo up > up; exec sleep 1000' --name a --min-uptime 100");
    rsx.wait_for_word("up");
    rsx.ok("stop a");
    assert_eq!(fs::read(rsx.log("a-out.log")).unwrap(), b"");
}
