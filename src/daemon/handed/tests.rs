//! Which socket is open when, with real ones and without a process.

use std::path::Path;

use super::*;

const WEB: Whose<'static> = Whose { app: "web", slot: SlotId(0) };
const TWIN: Whose<'static> = Whose { app: "web", slot: SlotId(1) };
const OTHER: Whose<'static> = Whose { app: "other", slot: SlotId(2) };

fn nobody() -> Handed {
    Handed::restore(Vec::new(), std::iter::empty(), &[], (None, 0o022))
}

fn socket(folder: &Path, name: &str) -> ListenSpec {
    ListenSpec::sample(ListenAddress::Unix { path: folder.join(name) })
}

#[test]
fn a_socket_is_open_as_long_as_a_slot_waits_or_a_run_lives() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (socket(folder.path(), "one"), socket(folder.path(), "two"));
    let is_open = |spec: &ListenSpec| folder.path().join(&spec.name).exists();
    let mut handed = nobody();
    for (run, whose) in [(1, WEB), (2, TWIN)] {
        assert_eq!(handed.parcel(whose, std::slice::from_ref(&one)).unwrap().fds.len(), 1);
        handed.give(RunId(run), whose, std::slice::from_ref(&one));
    }
    // Both want another one from now on; the old runs live.
    for (run, whose) in [(3, WEB), (4, TWIN)] {
        handed.parcel(whose, std::slice::from_ref(&two)).unwrap();
        handed.give(RunId(run), whose, std::slice::from_ref(&two));
    }
    handed.over(RunId(1));
    assert!(is_open(&one) && is_open(&two));
    handed.over(RunId(2));
    assert!(!is_open(&one) && is_open(&two));
    handed.give_up(SlotId(0));
    handed.over(RunId(4));
    assert!(is_open(&two), "a slot waits for its next run");
    handed.give_up(SlotId(1));
    assert!(!is_open(&two));
    assert_eq!(handed.copies().len(), 0);
}

#[test]
fn what_cannot_be_had_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (one, bad) = (socket(folder.path(), "one"), socket(folder.path(), "bad"));
    std::fs::write(folder.path().join("bad"), "").unwrap();
    let mut handed = nobody();
    let refused = handed.parcel(WEB, &[one.clone(), bad.clone()]).unwrap_err();
    assert!(refused.to_string().contains("not a socket") && !refused.is_transient(), "{refused}");
    assert!(!folder.path().join("one").exists());
    // It was there before, so it stays.
    handed.parcel(WEB, std::slice::from_ref(&one)).unwrap();
    handed.give(RunId(1), WEB, std::slice::from_ref(&one));
    handed.parcel(WEB, &[one.clone(), bad]).unwrap_err();
    assert!(folder.path().join("one").exists());
    let refused = handed.parcel(OTHER, std::slice::from_ref(&one)).unwrap_err();
    assert!(refused.to_string().contains("`web`"), "{refused}");
    // A process that could not be made.
    let two = socket(folder.path(), "two");
    let parcel = handed.parcel(WEB, &[one, two]).unwrap();
    handed.take_back(&parcel);
    assert!(folder.path().join("one").exists() && !folder.path().join("two").exists());
}

#[test]
fn a_program_gets_it_blocking_unless_another_one_uses_it_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let one = [socket(folder.path(), "one")];
    let mut handed = nobody();
    let get = |handed: &mut Handed, run| {
        let fd = handed.parcel(WEB, &one).unwrap().fds.remove(0);
        handed.give(RunId(run), WEB, &one);
        fd
    };
    let is_blocking = |fd: &OwnedFd| {
        let listener = std::os::unix::net::UnixListener::from(fd.try_clone().unwrap());
        nix::fcntl::fcntl(&listener, nix::fcntl::FcntlArg::F_GETFL).unwrap() & libc::O_NONBLOCK == 0
    };
    let first = get(&mut handed, 1);
    fds::set_blocking(&first, Blocking::No).unwrap();
    assert!(!is_blocking(&get(&mut handed, 2)), "the first one lives");
    handed.over(RunId(1));
    handed.over(RunId(2));
    assert!(is_blocking(&get(&mut handed, 3)));
}

#[test]
fn a_successor_knows_each_socket_and_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (one, gone) = (socket(folder.path(), "one"), socket(folder.path(), "gone"));
    let mut before = nobody();
    before.parcel(WEB, &[one.clone(), gone.clone()]).unwrap();
    before.give(RunId(1), WEB, &[one.clone(), gone]);
    let kept = before.copies();
    assert!(kept.iter().all(|(name, _)| is_ours(name)));
    let mut spec = crate::spec::AppSpec::sample("web");
    spec.listen = vec![one.clone()];
    let definition = crate::supervisor::Definition { spec, inherited: Arc::default(), stamp: None, declared: 1 };
    let mut slot = Slot::new(
        SlotId(0),
        crate::supervisor::AppId(0),
        0,
        Arc::new(definition),
        crate::supervisor::Time::from_millis(0),
    );
    slot.holds_sockets = true;
    let mut after = Handed::restore(kept, std::iter::once(&slot), &[], (None, 0o022));
    assert!(folder.path().join("one").exists() && !folder.path().join("gone").exists());
    assert!(after.parcel(OTHER, std::slice::from_ref(&one)).is_err());
    assert!(after.parcel(WEB, &[one]).unwrap().opened.is_empty());
    after.give_up(SlotId(0));
    assert!(!folder.path().join("one").exists());
}
