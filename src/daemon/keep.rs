//! What the daemon leaves with its guardian: the names of descriptors, and what is wanted, for a successor.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::daemon::launch::Resolved;
use crate::daemon::pump::Style;
use crate::daemon::shell::Place;
use crate::proto::{KEPT_VERSION, Kept, KeptApp, KeptSlot, LaunchRecord, LogRecord};
use crate::spec::{Env, LogDriver, LogForm, Stream};
use crate::supervisor::{Definition, RunId, SlotId, Wanted};
use crate::sys::fds;

/// The name of the memory file that says what is wanted.
pub(super) const WANTED: &str = "wanted";

/// The longest such file that is read, in bytes.
const LIMIT: u64 = 64 << 20;

/// The name of the memory that log bytes lie in between pipe and file.
pub(super) const LOG_WINDOW: &str = "log/window";

/// The name of one descriptor of a run.
pub(super) fn name(run: RunId, part: &str) -> String {
    format!("run/{}/{part}", run.0)
}

/// The name of a run's pidfd.
pub(super) fn process_name(run: RunId, pid: u32) -> String {
    format!("run/{}/pid/{pid}", run.0)
}

/// The part of a name that stands for a stream.
pub(super) fn stream(stream: Stream) -> &'static str {
    match stream {
        Stream::Out => "out",
        Stream::Error => "error",
    }
}

/// One launch, for the journal.
pub(super) fn launch(place: &Place) -> LaunchRecord {
    let Place { run, slot, resolved, out_file, error_file, pid_file, error_began, treekill, captured, agent, .. } =
        place;
    let Place { combined_file, style, handed, .. } = place;
    let Style { app, instance, form, driver, rotate, is_shared } = &**style;
    let Resolved { program, argv, cwd, wraps, version } = &**resolved;
    LaunchRecord {
        run: run.0,
        slot: slot.0,
        program: program.clone().into(),
        argv: argv.clone(),
        cwd: cwd.clone().into(),
        wraps: *wraps,
        version: version.clone(),
        treekill: *treekill,
        out_file: out_file.clone(),
        error_file: error_file.clone(),
        pid_file: pid_file.clone(),
        error_began: *error_began,
        combined_file: combined_file.clone(),
        log: Some(LogRecord {
            app: app.clone(),
            instance: *instance,
            form: form.clone(),
            driver: *driver,
            rotate: rotate.clone(),
            shared: *is_shared,
        }),
        captured: *captured,
        agent: *agent,
        listen: handed.clone(),
    }
}

/// One launch, from the journal.
pub(super) fn recalled_launch(record: LaunchRecord) -> Place {
    let LaunchRecord { run, slot, program, argv, cwd, wraps, version, treekill, .. } = record;
    let LaunchRecord { out_file, error_file, pid_file, error_began, captured, combined_file, log, agent, .. } = record;
    let handed = record.listen;
    let LogRecord { app, instance, form, driver, rotate, shared: is_shared } = log.unwrap_or_else(|| LogRecord {
        // As everything was written before there were other ways.
        app: String::new(),
        instance: 0,
        form: LogForm::Raw,
        driver: LogDriver::Pipe,
        rotate: None,
        shared: false,
    });
    let style = Arc::new(Style { app, instance, form, driver, rotate, is_shared });
    let resolved = Arc::new(Resolved { program: program.into(), argv, cwd: cwd.into(), wraps, version });
    let (run, slot) = (RunId(run), SlotId(slot));
    Place {
        run,
        slot,
        resolved,
        out_file,
        error_file,
        combined_file,
        style,
        pid_file,
        error_began,
        treekill,
        captured,
        agent,
        handed,
    }
}

/// What is wanted, as text.
pub(super) fn to_bytes(wanted: &[Wanted]) -> io::Result<Vec<u8>> {
    let mut environments: Vec<Arc<Env>> = Vec::new();
    let mut apps = Vec::with_capacity(wanted.len());
    for app in wanted {
        let Definition { spec, inherited, stamp, declared } = &*app.definition;
        // Apps of one request share one allocation, so the comparison is nearly always of pointers.
        let same = |env: &Arc<Env>| Arc::ptr_eq(env, inherited) || env == inherited;
        let environment = environments.iter().position(same).unwrap_or_else(|| {
            environments.push(Arc::clone(inherited));
            environments.len() - 1
        });
        let slots = app.slots.iter().map(|(id, instance, up)| KeptSlot { id: id.0, instance: *instance, up: *up });
        let declared = (*declared != spec.instances).then_some(*declared);
        apps.push(KeptApp { spec: spec.clone(), environment, stamp: *stamp, declared, slots: slots.collect() });
    }
    let environments = environments.iter().map(|env| Env::clone(env)).collect();
    Ok(serde_json::to_vec(&Kept { version: KEPT_VERSION, environments, apps })?)
}

/// What somebody wanted, from text.
pub(super) fn from_bytes(bytes: &[u8]) -> io::Result<Vec<Wanted>> {
    // The version first: a later form may not even look like this one.
    let Version { version } = serde_json::from_slice(bytes)?;
    if version > KEPT_VERSION {
        let why = format!("it is of version {version}, this daemon reads up to {KEPT_VERSION}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let kept: Kept = serde_json::from_slice(bytes)?;
    let environments: Vec<Arc<Env>> = kept.environments.into_iter().map(Arc::new).collect();
    let wanted = kept.apps.into_iter().map(|app| Wanted {
        definition: Arc::new(Definition {
            declared: app.declared.unwrap_or(app.spec.instances),
            spec: app.spec,
            inherited: environments.get(app.environment).cloned().unwrap_or_default(),
            stamp: app.stamp,
        }),
        slots: app.slots.iter().map(|slot| (SlotId(slot.id), slot.instance, slot.up)).collect(),
    });
    Ok(wanted.collect())
}

#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

/// What is wanted, as a memory file.
pub(super) fn memory_file(wanted: &[u8]) -> io::Result<OwnedFd> {
    fds::memory_file("rsx-wanted", wanted)
}

/// What a predecessor wanted.
pub(super) fn read_wanted(file: &OwnedFd) -> io::Result<Vec<Wanted>> {
    from_bytes(&fds::read_memory_file(file, LIMIT)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::AppSpec;

    #[test]
    fn a_successor_reads_what_its_predecessor_wanted() {
        let inherited = Arc::new(Env::from([("PATH".into(), "/bin".into())]));
        let app = |name: &str, id| Wanted {
            definition: Arc::new(Definition {
                spec: AppSpec::sample(name),
                inherited: Arc::clone(&inherited),
                stamp: None,
                declared: 1 + u16::try_from(id).unwrap(),
            }),
            slots: vec![(SlotId(id), 0, id == 0)],
        };
        let wanted = vec![app("a", 0), app("b", 3)];
        let file = memory_file(&to_bytes(&wanted).unwrap()).unwrap();
        assert_eq!(read_wanted(&file).unwrap(), wanted);
    }

    #[test]
    fn what_a_newer_daemon_wrote_is_refused_by_its_version() {
        let file = fds::memory_file("t", br#"{"version":99,"environments":[],"apps":[]}"#).unwrap();
        assert!(read_wanted(&file).unwrap_err().to_string().contains("version 99"));
    }
}
