//! The spawner: a thread that makes processes and their files, because looking up files and fork may take their time.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;

use crate::config::keys::{self, Availability};
use crate::daemon::cluster::{Newcomer, Sockets};
use crate::daemon::direct::{self, NoUnit, Units};
use crate::daemon::failpoint;
use crate::daemon::handed::{Handed, NoSocket, Whose};
use crate::daemon::inspectors;
use crate::daemon::journal::Journal;
use crate::daemon::keep;
use crate::daemon::launch::{self, LaunchError, Resolved, Ways};
use crate::daemon::link::Link;
use crate::daemon::node::{self, Channel, Kin, Preload};
use crate::daemon::pid_file::{self, Draft};
use crate::daemon::privileges;
use crate::daemon::pump::{LogOut, Source, Style};
use crate::daemon::report::Report;
use crate::daemon::shell::Place;
use crate::daemon::talk::Ends;
use crate::proto::Record;
use crate::spec::{AppSpec, DEFAULT_NAMESPACE, ListenSpec, LogDriver, LogStyle, LogTarget, Stream};
use crate::supervisor::{Definition, Lasting, RunId, SlotId};
use crate::sys::fds;
use crate::sys::limits::{self, RLimit};
use crate::sys::moment::Moment;
use crate::sys::process::Process;
use crate::sys::spawn::{self, Bay, Launch, SpawnError, Step};

/// How many descriptors are left for clients and the daemon itself when programs have taken the rest.
const RESERVED: u64 = 64;

/// How many descriptors every program has.
const STDIO: usize = 3;

/// How long the guardian may be behind with what it was sent, before a process is made all the same.
const SENT: Duration = Duration::from_secs(1);

/// What the thread does, in this order.
#[derive(Debug)]
pub(super) enum Task {
    /// Makes a process.
    Make(Job),
    /// Removes the pid file of a run that has ended, then reports its end once more.
    Clear { run: RunId, pid: u32, pid_file: PathBuf },
    /// Nothing lives any more of a run that got sockets.
    Over(RunId),
    /// Nobody waits for a next run of this slot: its sockets are closed.
    GiveUp(SlotId),
    /// Somebody waits until what was told before is done.
    Settle(oneshot::Sender<()>),
    /// Somebody wants copies of all sockets.
    Copies(mpsc::Sender<Vec<(String, OwnedFd)>>),
}

/// One process to make.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) run: RunId,
    pub(super) slot: SlotId,
    pub(super) instance: u16,
    pub(super) definition: Arc<Definition>,
    /// What the last start by request found, for a crash restart.
    pub(super) resolved: Option<Arc<Resolved>>,
    /// Whose sockets are to be shared.
    pub(super) capture: Option<Newcomer>,
}

/// A process that was made, and our ends of what it holds.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) run: RunId,
    pub(super) slot: SlotId,
    pub(super) place: Arc<Place>,
    pub(super) process: Arc<Process>,
    /// Not before the moment that the process itself has written down, and before anything could happen to it.
    pub(super) born: Moment,
    pub(super) stdin: OwnedFd,
    pub(super) sources: Vec<Source>,
    pub(super) ends: Ends,
}

/// What all launches share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) own_binary: PathBuf,
    pub(super) logs: PathBuf,
    pub(super) notify_dir: PathBuf,
    pub(super) agent_dir: PathBuf,
    pub(super) preload: Preload,
    pub(super) nofile: Option<RLimit>,
    /// The badness of whoever started the daemon, where the daemon has changed its own.
    pub(super) badness: Option<i16>,
    /// The file mode mask of whoever started the daemon.
    pub(super) umask: u32,
    pub(super) link: Option<Link>,
    pub(super) journal: Journal,
    pub(super) sockets: Sockets,
    pub(super) units: Units,
    /// None where the system has no such thing: then starting takes longer the more runs there are.
    pub(super) bay: RefCell<Option<Bay>>,
}

/// Why a process could not be made.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("log file {path}: {why}, which `log_driver = \"file\"` needs for rotation; `rotate = false` or \
             `log_driver = \"pipe\"` goes without", path = path.display())]
    CannotRotate { path: PathBuf, why: NoUnit },
    #[error("log file {path}: {why}", path = path.display(), why = launch::reason(source))]
    Log { path: PathBuf, source: io::Error },
    #[error("pid file {path}: {why}", path = path.display(), why = launch::reason(source))]
    PidFile { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Socket(#[from] NoSocket),
    #[error("pipe: {}", launch::reason(.0))]
    Pipe(#[source] io::Error),
    #[error("{0}")]
    Spawn(SpawnError),
    #[error("cluster mode needs seccomp(2) to see `bind` and `listen`, and here {}; `exec_mode = \"fork\"` or \
             `capture = \"off\"` goes without{}", no_capture(.0), with_listen())]
    Capture(SpawnError),
}

impl Failed {
    fn lasting(&self) -> Lasting {
        let transient = match self {
            Failed::Launch(_) | Failed::CannotRotate { .. } => false,
            Failed::Socket(error) => error.is_transient(),
            Failed::Log { source, .. } | Failed::PidFile { source, .. } | Failed::Pipe(source) => {
                matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
            }
            Failed::Spawn(error) | Failed::Capture(error) => error.is_transient(),
        };
        if transient { Lasting::Transient } else { Lasting::Permanent }
    }
}

/// Where tasks wait. Bounded by the number of slots, a few tasks each: a launch, an end, and what is said of its sockets.
pub(super) fn channel() -> (mpsc::Sender<Task>, mpsc::Receiver<Task>) {
    mpsc::channel()
}

/// Starts the thread; tasks are carried out in order, each is reported once.
pub(super) fn start(
    ground: Ground,
    mut handed: Handed,
    inbox: mpsc::Receiver<Task>,
    reports: tokio::sync::mpsc::UnboundedSender<Report>,
) -> io::Result<()> {
    std::thread::Builder::new().name("rsx-spawn".into()).spawn(move || {
        for task in inbox {
            let job = match task {
                Task::Make(job) => job,
                Task::Clear { run, pid, pid_file } => {
                    pid_file::remove(&pid_file, pid);
                    if reports.send(Report::Ended { run }).is_err() {
                        return;
                    }
                    continue;
                }
                Task::Over(run) => {
                    handed.over(run);
                    continue;
                }
                Task::GiveUp(slot) => {
                    handed.give_up(slot);
                    continue;
                }
                Task::Settle(done) => {
                    // Whoever waited may have gone on.
                    let _ = done.send(());
                    continue;
                }
                Task::Copies(copies) => {
                    let _ = copies.send(handed.copies());
                    continue;
                }
            };
            let run = job.run;
            // A panic is logged by its hook; without this it would end the thread, and with it every later start.
            let made = catch_unwind(AssertUnwindSafe(|| make_with(&ground, &mut handed, job)));
            let report = match made {
                Ok(Ok(spawned)) => {
                    failpoint::here("before-spawned");
                    Report::Spawned(Box::new(spawned))
                }
                Ok(Err(failed)) => Report::SpawnFailed { run, why: failed.to_string(), lasting: failed.lasting() },
                Err(_) => {
                    let why = "a defect of rsx, see daemon.log".to_owned();
                    Report::SpawnFailed { run, why, lasting: Lasting::Permanent }
                }
            };
            if reports.send(report).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Makes a process, with the sockets that are handed to it; where it cannot be made, they are as they were.
fn make_with(ground: &Ground, handed: &mut Handed, job: Job) -> Result<Spawned, Failed> {
    let (run, slot, definition) = (job.run, job.slot, Arc::clone(&job.definition));
    let spec = &definition.spec;
    let app = full_name(spec);
    let whose = Whose { app: &app, slot };
    let mut parcel = handed.parcel(whose, &spec.listen)?;
    let made = make(ground, job, std::mem::take(&mut parcel.fds));
    match &made {
        Ok(_) => handed.give(run, whose, &spec.listen),
        Err(_) => handed.take_back(&parcel),
    }
    made
}

fn full_name(spec: &AppSpec) -> String {
    match spec.namespace.as_str() {
        DEFAULT_NAMESPACE => spec.name.clone(),
        namespace => format!("{namespace}.{}", spec.name),
    }
}

fn make(ground: &Ground, job: Job, listen: Vec<OwnedFd>) -> Result<Spawned, Failed> {
    let Job { run, slot, instance, definition, resolved, capture } = job;
    let by_request = resolved.is_none();
    let resolved = match resolved {
        Some(resolved) => resolved,
        None => Arc::new(launch::resolve(&definition, &ground.own_binary)?),
    };
    let style = Arc::new(style(ground, &definition, instance));
    let combined_file = definition.spec.combined_log_path(&ground.logs, instance);
    let output = |stream| {
        let own = definition.spec.log_path(&ground.logs, stream, instance);
        match definition.spec.logs.style.driver {
            LogDriver::Pipe => {
                output(&definition.spec.name, (run, stream), (own, combined_file.clone()), &style, by_request)
            }
            LogDriver::File => direct_output(&definition, own, &ground.units, by_request),
        }
    };
    let (stdout, out, out_file) = output(Stream::Out)?;
    let (stderr, error, error_file) = output(Stream::Error)?;
    let draft = draft_pid_file(&definition, run, instance, by_request)?;
    let (stdin_theirs, stdin) = fds::input_pipe().map_err(Failed::Pipe)?;
    leave_some(&stdin)?;
    let notify = notify_socket(&ground.notify_dir, run);
    let notify_path = notify.as_ref().map(|(_, path)| path.as_path());
    let kin = Kin::of(&definition.spec, &resolved);
    let (channel, channel_theirs) = if kin.has_channel() {
        let (ours, theirs) = Channel::pair().map_err(Failed::Pipe)?;
        // It keeps its number, and the sockets get the first ones.
        (Some(ours), Some(fds::from(theirs, STDIO + listen.len()).map_err(Failed::Pipe)?))
    } else {
        (None, None)
    };
    let agent = if kin.has_agent(&definition.spec) { agent_socket(ground, run) } else { None };
    let ways = Ways {
        notify: notify_path,
        channel: channel_theirs.as_ref().map(AsRawFd::as_raw_fd),
        agent: agent.as_ref().map(|(preload, _, path)| (preload.as_path(), path.as_path())),
    };
    let env = launch::environment(&definition, slot, instance, &ways).and_then(|env| {
        if capture.is_some() {
            let path_var = env.iter().find(|(name, _)| name == "PATH").and_then(|(_, value)| value.to_str());
            privileges::check(&resolved.program, &resolved.argv, path_var, &resolved.cwd)?;
        }
        let env = with_names(env, &definition.spec.listen);
        Ok(with_watchdog(env, definition.spec.watchdog))
    });
    let agent = agent.map(|(_, socket, path)| (socket, path));
    let treekill = definition.spec.stop.treekill;
    let error_began = match (definition.spec.logs.style.driver, &error, &error_file) {
        (LogDriver::Pipe, Some(source), _) => {
            let file = source.files.first().and_then(|file| file.file.as_ref()?.metadata().ok());
            file.map_or(0, |file| file.len())
        }
        (LogDriver::File, _, Some(path)) => direct::logical_end(path),
        (LogDriver::Pipe, None, _) | (LogDriver::File, _, None) => 0,
    };
    let sources: Vec<Source> = [out, error].into_iter().flatten().collect();
    let pid_file = draft.as_ref().map(|(_, path)| path.clone());
    let place = Arc::new(Place {
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
        captured: capture.is_some(),
        agent: agent.is_some(),
        handed: definition.spec.listen.iter().map(|socket| socket.address.clone()).collect(),
    });
    let made = env.map_err(Failed::Launch).and_then(|env| {
        let mut launch = Launch {
            program: place.resolved.program.clone(),
            argv: place.resolved.argv.clone(),
            env,
            cwd: place.resolved.cwd.clone(),
            stdin: stdin_theirs,
            stdout,
            stderr,
            nofile: ground.nofile,
            umask: Some(ground.umask),
            oom_score_adj: ground.badness,
            keep: channel_theirs.into_iter().collect(),
            listen,
            // Where the program is started by another one, only that one knows its number.
            watchdog_pid: definition.spec.watchdog.is_some() && !place.resolved.wraps,
            birth: None,
        };
        let talk = [
            ("in", Some(stdin.as_fd())),
            ("notify", notify.as_ref().map(|(socket, _)| socket.as_fd())),
            ("channel", channel.as_ref().map(AsFd::as_fd)),
            ("agent", agent.as_ref().map(|(socket, _)| socket.as_fd())),
        ];
        leave_with_guardian(ground, run, &sources, &talk);
        let page = ground.journal.page(run.0);
        page.launch(Record::Launch(Box::new(keep::launch(&place))));
        failpoint::here("before-clone");
        launch.birth = page.birth().ok();
        let capture = capture.map(|mut newcomer| {
            newcomer.wants.inspectors = inspectors::ports(&launch.program, &launch.argv, &launch.env);
            newcomer
        });
        let process = clone(ground, &launch, run, capture)?;
        failpoint::here("after-clone");
        let born = Moment::now();
        page.born(process.display_pid(), born);
        Ok((process, born))
    });
    if made.is_err() {
        if let Some(link) = &ground.link {
            let names = ["in", "out", "error", "notify", "channel", "agent"].map(|part| keep::name(run, part));
            link.forget(&names.each_ref().map(String::as_str));
        }
        for path in notify_path.into_iter().chain(agent.as_ref().map(|(_, path)| path.as_path())) {
            // Left over, it would be replaced by the next run that gets its number.
            let _ = std::fs::remove_file(path);
        }
    }
    let (process, born) = made?;
    let process = Arc::new(process);
    if let Some((draft, path)) = draft
        && let Err(error) = draft.publish(process.display_pid())
    {
        warn!("{}: cannot write {}: {error}", definition.spec.name, path.display());
    }
    Ok(Spawned { run, slot, place, process, born, stdin, sources, ends: Ends { notify, channel, agent } })
}

/// The variables of a program that gets sockets: how many they are, and whose, is said in the last moment.
fn with_names(mut env: Vec<(OsString, OsString)>, listen: &[ListenSpec]) -> Vec<(OsString, OsString)> {
    if !listen.is_empty() {
        env.retain(|(name, _)| !["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"].iter().any(|own| name == own));
        let names: Vec<&str> = listen.iter().map(|socket| socket.name.as_str()).collect();
        env.push(("LISTEN_FDNAMES".into(), names.join(":").into()));
    }
    env
}

/// The variable of a program that is to speak (sd_watchdog_enabled(3)); whose it is, is said in the last moment.
fn with_watchdog(mut env: Vec<(OsString, OsString)>, limit: Option<Duration>) -> Vec<(OsString, OsString)> {
    if let Some(limit) = limit {
        env.retain(|(name, _)| !["WATCHDOG_USEC", "WATCHDOG_PID"].iter().any(|own| name == own));
        env.push(("WATCHDOG_USEC".into(), limit.as_micros().to_string().into()));
    }
    env
}

/// Makes the process; one whose sockets are to be shared passes a gate.
fn clone(ground: &Ground, launch: &Launch, run: RunId, capture: Option<Newcomer>) -> Result<Process, Failed> {
    let is_captured = capture.is_some();
    let gate = capture.map(|newcomer| ground.sockets.gate(newcomer)).transpose().map_err(Failed::Pipe)?;
    let process = match (ground.bay.borrow_mut().as_mut(), &gate) {
        (Some(bay), gate) => spawn::spawn_through_bay(launch, gate.as_ref(), bay),
        (None, Some(gate)) => spawn::spawn_captured(launch, gate),
        (None, None) => spawn::spawn(launch),
    };
    if is_captured && process.is_err() {
        ground.sockets.ended(run);
    }
    process.map_err(
        |error| if is_captured && is_no_capture(&error) { Failed::Capture(error) } else { Failed::Spawn(error) },
    )
}

/// Whether it is the filter that cannot be had, and not this launch that went wrong.
fn is_no_capture(error: &SpawnError) -> bool {
    let refusals = [libc::EPERM, libc::EACCES, libc::EBUSY, libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP];
    error.step == Step::Capture && error.source.raw_os_error().is_some_and(|errno| refusals.contains(&errno))
}

fn no_capture(error: &SpawnError) -> String {
    match error.source.raw_os_error() {
        Some(libc::EBUSY) => "another program has that in its hand (an rsx around this one, or a container)".to_owned(),
        _ => format!("it is refused: {}", launch::reason(&error.source)),
    }
}

fn with_listen() -> &'static str {
    let is_there = keys::find("listen").is_some_and(|key| key.availability == Availability::Now);
    if is_there { ", and `listen` passes sockets" } else { "" }
}

/// The pid file of a run that is to be made, if its owner wants one. As with log files, a request is told what is wrong
/// with it, and a crash restart goes on without.
fn draft_pid_file(
    definition: &Definition,
    run: RunId,
    instance: u16,
    by_request: bool,
) -> Result<Option<(Draft, PathBuf)>, Failed> {
    let Some(path) = definition.spec.pid_path(instance) else { return Ok(None) };
    match Draft::new(&path, run) {
        Ok(draft) => Ok(Some((draft, path))),
        Err(source) if by_request => Err(Failed::PidFile { path, source }),
        Err(error) => {
            warn!("{}: cannot write {}: {error}", definition.spec.name, path.display());
            Ok(None)
        }
    }
}

/// What a successor needs of a process has to be with the guardian before there is one: in the next moment this daemon
/// may be gone, and the process would write into a pipe that nobody holds.
fn leave_with_guardian(ground: &Ground, run: RunId, sources: &[Source], talk: &[(&str, Option<BorrowedFd<'_>>)]) {
    let Some(link) = &ground.link else { return };
    let mut named: Vec<_> =
        talk.iter().filter_map(|(part, fd)| fd.as_ref().map(|fd| (keep::name(run, part), *fd))).collect();
    named.extend(sources.iter().map(|source| (keep::name(run, keep::stream(source.stream)), source.pipe.as_fd())));
    let named: Vec<_> = named.iter().map(|(name, fd)| (name.as_str(), *fd)).collect();
    link.put(&named);
    if !link.is_sent_within(SENT) {
        warn!(run = run.0, "the guardian is slow to take descriptors");
    }
}

/// Refuses to take the last descriptors: with none left, nobody could even ask what is wrong. The kernel hands out the
/// lowest free number, so the number of a fresh one tells how many there are.
fn leave_some(fresh: &OwnedFd) -> Result<(), Failed> {
    let limit = limits::nofile().map_or(u64::MAX, |limit| limit.soft);
    let number = u64::try_from(fresh.as_raw_fd()).unwrap_or(0);
    if number.saturating_add(RESERVED) < limit {
        return Ok(());
    }
    Err(Failed::Pipe(io::Error::from_raw_os_error(libc::EMFILE)))
}

type Output = (OwnedFd, Option<Source>, Option<PathBuf>);

/// How the output of one instance is written.
fn style(ground: &Ground, definition: &Definition, instance: u16) -> Style {
    let spec = &definition.spec;
    let files = [Stream::Out, Stream::Error].map(|stream| spec.log_path(&ground.logs, stream, instance));
    let app = full_name(spec);
    let is_shared =
        spec.logs.merge || spec.logs.combined != LogTarget::Null || files[0].is_some() && files[0] == files[1];
    let LogStyle { form, driver, rotate } = spec.logs.style.clone();
    Style { app, instance, form, driver, rotate, is_shared }
}

/// The child's end of one output stream, ours with the files behind it, and the name of its own file.
fn output(
    name: &str,
    (run, stream): (RunId, Stream),
    (own, combined): (Option<PathBuf>, Option<PathBuf>),
    style: &Arc<Style>,
    by_request: bool,
) -> Result<Output, Failed> {
    if stream == Stream::Out && own.is_none() && combined.is_none() {
        // Standard error is read even when nobody keeps it: its last words are the reason of a failure.
        return Ok((fds::null().map_err(Failed::Pipe)?, None, None));
    }
    let mut files = Vec::new();
    for path in own.iter().chain(&combined) {
        let file = match open_log(path) {
            Ok(file) => Some(file),
            Err(source) if by_request => return Err(Failed::Log { path: path.clone(), source }),
            Err(error) => {
                // A crash restart goes on without its log: being up matters more.
                warn!("{name}: cannot open {}: {error}", path.display());
                None
            }
        };
        files.push(LogOut { path: path.clone(), file });
    }
    let (ours, theirs) = fds::output_pipe().map_err(Failed::Pipe)?;
    let source = Source { run, stream, pipe: File::from(ours), files, style: Arc::clone(style) };
    Ok((theirs, Some(source), own))
}

/// The child's end of one output stream, which is the file itself, and its name.
fn direct_output(
    definition: &Definition,
    own: Option<PathBuf>,
    units: &Units,
    by_request: bool,
) -> Result<Output, Failed> {
    let null = || fds::null().map_err(Failed::Pipe);
    let Some(path) = own else { return Ok((null()?, None, None)) };
    let name = &definition.spec.name;
    let file = match open_log(&path).and_then(|file| fds::set_blocking(&file, fds::Blocking::Yes).map(|()| file)) {
        Ok(file) => file,
        Err(source) if by_request => return Err(Failed::Log { path, source }),
        Err(error) => {
            // A crash restart goes on without its log: being up matters more.
            warn!("{name}: cannot open {}: {error}", path.display());
            return Ok((null()?, None, Some(path)));
        }
    };
    // A terminal, or /dev/full, has nothing that could be rotated.
    if definition.spec.logs.style.rotate.is_some()
        && file.metadata().is_ok_and(|meta| meta.is_file())
        && let Err(why) = units.of(&path, &file)
    {
        match why {
            NoUnit::Never(_) | NoUnit::NoFolder(_) if by_request => return Err(Failed::CannotRotate { path, why }),
            // Being up matters more; that the file cannot be rotated is told when it is due, and tried again.
            NoUnit::Never(_) | NoUnit::NoFolder(_) | NoUnit::NotNow(_) => {
                warn!("{name}: {} grows without rotation: {why}", path.display());
            }
        }
    }
    Ok((file.into(), None, Some(path)))
}

/// Opens a log file for appending; made with its folder if it is not there.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    // A FIFO that nobody reads is an error then, instead of a wait that no other app could be started in, and one that
    // is read slowly, or a stopped terminal, loses lines instead of holding up the logs of all (open(2), fifo(7)).
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let open = || OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            open()
        }
        other => other,
    }
}

/// A socket of the run's own for sd_notify(3); a run without one is ready by listening or by living.
fn notify_socket(folder: &Path, run: RunId) -> Option<(UnixDatagram, PathBuf)> {
    let path = folder.join(run.0.to_string());
    // What an earlier daemon left under this number.
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    match socket {
        Ok(socket) => Some((socket, path)),
        Err(error) => {
            warn!("cannot bind {}: {error}", path.display());
            None
        }
    }
}

/// A socket for the agents of a run, and the file that they are loaded from; a run without is one without an agent.
fn agent_socket(ground: &Ground, run: RunId) -> Option<(PathBuf, UnixListener, PathBuf)> {
    let preload = match ground.preload.ready() {
        Ok(preload) => preload.to_owned(),
        Err(error) => {
            warn!("cannot write the agent for Node: {error}");
            return None;
        }
    };
    match node::listen(&ground.agent_dir, run) {
        Ok((socket, path)) => Some((preload, socket, path)),
        Err(error) => {
            warn!(run = run.0, "cannot listen to agents: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_that_nobody_reads_is_no_log_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open_log(&path).unwrap_err().raw_os_error(), Some(libc::ENXIO));
        assert!(open_log(&folder.path().join("new/app.log")).is_ok());
    }
}
