//! A journal is enough: at every step of a random walk a successor finds the core as it is.

use std::collections::HashMap;
use std::path::Path;

use super::*;
use crate::proto::{AskedRecord, BatchRecord};
use crate::supervisor::walk::Stroll;
use crate::supervisor::{RequestId, RunId, Slot, Supervisor, Waiter};

const BOOT: &str = "boot";

fn pid(run: RunId) -> u32 {
    u32::try_from(run.0).unwrap()
}

#[track_caller]
fn past(path: &Path) -> Past {
    match read(path, BOOT) {
        Read::Past(past) => *past,
        other => panic!("no journal: {other:?}"),
    }
}

/// The slots, counters and batches of a core are those that its journal tells of.
#[track_caller]
fn compare(core: &Supervisor, past: Past, keys: &HashMap<RequestId, String>, place: &str) {
    assert_eq!(past.torn, 0, "{place}");
    assert_eq!(past.counters, core.counters(), "{place}");
    let batches: Vec<BatchRecord> =
        core.batches().iter().map(|one| batch(keys.get(&one.request).map(String::as_str), one)).collect();
    assert_eq!(past.batches, batches, "{place}");
    for (record, one) in past.batches.into_iter().zip(core.batches()) {
        let key = record.key.clone();
        let again = batch(key.as_deref(), &recalled_batch(one.request, record.clone()));
        assert_eq!(again, record, "{place}");
    }
    let recalled = Supervisor::recalled(1, crate::supervisor::Time::default(), past.counters, past.slots);
    let (now, then): (Vec<&Slot>, Vec<&Slot>) = (core.all_slots().collect(), recalled.all_slots().collect());
    assert_eq!(then, now, "{place}");
}

/// Every request that waits survives its record, and its record the file.
#[track_caller]
fn compare_waiters(core: &Supervisor, asked: &[AskedRecord], keys: &HashMap<RequestId, String>, place: &str) {
    for (id, key) in keys {
        let Some(waiter) = core.waiter(*id) else { continue };
        let Some(record) = asked.iter().find(|record| record.key == *key) else {
            panic!("{place}: nobody knows that {key} waits");
        };
        // Who has been asked by now is waited for, whoever goes on.
        let (_, written): (String, Waiter) = recalled_waiter(*id, record.clone());
        for (slot, pending) in &waiter.pending {
            let held = written.pending.get(slot).map(|pending| pending.is_held);
            assert_eq!(held, Some(pending.is_held), "{place}: {key} and {slot:?}");
        }
        let text = serde_json::to_string(&waiting(key, waiter)).unwrap();
        let (known, again): (String, Waiter) = recalled_waiter(*id, serde_json::from_str(&text).unwrap());
        assert_eq!((known.as_str(), &again), (key.as_str(), waiter), "{place}");
    }
}

#[test]
fn at_every_step_the_journal_holds_the_whole_core() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 1..25 {
        let path = folder.path().join(seed.to_string());
        let (mut stroll, mut keys) = (Stroll::new(seed), HashMap::new());
        let nothing = || Whole { runs: vec![], events: vec![], asked: vec![], batches: vec![], pid: &pid };
        let mut writer = Writer::begin(&path, (BOOT.to_owned(), 0), stroll.core(), nothing()).unwrap();
        for step in 0..120 {
            let (request, _) = stroll.step();
            if let Some(id) = request {
                keys.insert(id, format!("key {}", id.0));
            }
            let asked = request.map(|id| (keys[&id].as_str(), id));
            let key = |id: RequestId| keys.get(&id).map(String::as_str);
            writer.turn(stroll.core(), Turn { events: vec![], asked, pid: &pid, key: &key });
            let (place, past) = (format!("seed {seed}, step {step}"), past(&path));
            compare_waiters(stroll.core(), &past.asked, &keys, &place);
            compare(stroll.core(), past, &keys, &place);
        }
        // Written anew, it says the same.
        let batches = stroll.core().batches().iter();
        let batches = batches.map(|one| batch(keys.get(&one.request).map(String::as_str), one)).collect();
        let whole = Whole { batches, ..nothing() };
        writer.renew(stroll.core(), whole);
        compare(stroll.core(), past(&path), &keys, &format!("seed {seed}, written anew"));
    }
}

/// As the first released version writes it. What was released stays readable: a new version gets a file of its own.
#[test]
fn the_released_form_stays_readable() {
    let past = past(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/journal-v1.jsonl")));
    assert_eq!(past.torn, 0);
    let names: Vec<&str> = past.slots.iter().map(|slot| slot.definition.spec.name.as_str()).collect();
    assert_eq!(names, ["api", "bad", "two", "two"]);
    let (api, bad) = (&past.slots[0], &past.slots[1]);
    let run = api.run().unwrap().id;
    assert!(past.born.contains_key(&run) && past.launches.contains_key(&run));
    assert_eq!((api.restarts, api.history.len(), bad.history.len()), (1, 1, 1));
    assert_eq!(past.words[&bad.history[0].run], ["no"]);
    assert!(past.slots.iter().skip(2).all(|slot| slot.run().is_none()));
    assert_eq!(past.asked.len(), 7);
    assert!(past.events.len() > 20);
}

#[test]
fn a_journal_of_another_boot_or_a_later_version_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let head = |boot: &str, version: u32| {
        let head = format!("{{\"head\":{{\"version\":{version},\"boot\":\"{boot}\",\"writer\":\"9.9.9\"}}}}\n");
        std::fs::write(&path, head).unwrap();
        read(&path, BOOT)
    };
    assert!(matches!(head("another", 1), Read::Nothing));
    assert!(matches!(head(BOOT, 1), Read::Past(_)));
    assert!(matches!(head(BOOT, 99), Read::Unusable(why) if why.contains("9.9.9")));
    std::fs::write(&path, "no journal\n").unwrap();
    assert!(matches!(read(&path, BOOT), Read::Unusable(_)));
    assert!(matches!(read(&folder.path().join("none"), BOOT), Read::Nothing));
}
