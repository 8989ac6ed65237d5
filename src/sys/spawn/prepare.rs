//! Everything that needs memory or can be wrong before there is a child.

use std::ffi::{CString, OsStr};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::AtomicU8;

use nix::fcntl::{FcntlArg, fcntl};

use crate::sys::spawn::bay::Bay;
use crate::sys::spawn::child::{Birth, Plan, Report};
use crate::sys::spawn::gate::{Gate, GatePlan};
use crate::sys::spawn::{Launch, SpawnError, Step};

/// What the variables of the child's own number begin with, and how many digits a number has at most.
const LISTEN_PID: &[u8] = b"LISTEN_PID=";
const WATCHDOG_PID: &[u8] = b"WATCHDOG_PID=";
const DIGITS: usize = 10;

/// How many descriptors a program always has.
const STDIO: RawFd = 3;

/// More sockets than these are not handed in.
const MAX_LISTEN: RawFd = 64;

/// The strings and descriptors of a launch in the form that the calls take.
pub(super) struct Prepared {
    program: CString,
    cwd: CString,
    /// Own the bytes that `argv_pointers` and `env_pointers` point to; never read again.
    _argv: Vec<CString>,
    _env: Vec<CString>,
    argv_pointers: Vec<*const libc::c_char>,
    env_pointers: Vec<*const libc::c_char>,
    /// How long each name is with its sign, the name, and room for the number, which only the child knows. The last pointers
    /// of the environment lead to them.
    own_pids: Vec<(usize, Vec<AtomicU8>)>,
    /// All above the numbers that they get.
    listen: Vec<RawFd>,
    /// The lowest number that nothing is put in place at.
    first_free: RawFd,
    stdio: [RawFd; 3],
    /// Duplicates of those that lay in the way, open until the child has them.
    _moved: Vec<OwnedFd>,
    keep: Vec<RawFd>,
    nofile: Option<libc::rlimit>,
    umask: Option<libc::mode_t>,
    oom_score_adj: Option<CString>,
    birth: Option<Birth>,
    /// The end of the gate's channel, the message, and how many seconds the child waits.
    gate: Option<(RawFd, Vec<u8>, libc::c_uint)>,
    /// See [`Plan::alone`].
    alone: Option<libc::c_uint>,
}

impl Prepared {
    pub(super) fn new(launch: &Launch, gate: Option<&Gate>) -> Result<Prepared, SpawnError> {
        if !launch.program.is_absolute() {
            let wrong = io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path");
            return Err(SpawnError::new(Step::Prepare, Some(launch.program.clone()), wrong));
        }
        let program = string("the program's path", launch.program.as_os_str())?;
        let cwd = string("the working directory", launch.cwd.as_os_str())?;
        let argv = launch.argv.iter().enumerate().map(|(index, word)| string(&format!("argument {index}"), word));
        let argv: Vec<CString> = argv.collect::<Result<_, _>>()?;
        let mut env: Vec<CString> =
            launch.env.iter().map(|(name, value)| assignment(name, value)).collect::<Result<_, _>>()?;
        let first_free = first_free(launch)?;
        let mut own_pids = Vec::new();
        let room = |name: &[u8]| {
            let bytes = name.iter().copied().chain([0; DIGITS + 1]);
            (name.len(), bytes.map(AtomicU8::new).collect::<Vec<_>>())
        };
        if !launch.listen.is_empty() {
            env.push(assignment(OsStr::new("LISTEN_FDS"), OsStr::new(&launch.listen.len().to_string()))?);
            own_pids.push(room(LISTEN_PID));
        }
        if launch.watchdog_pid {
            own_pids.push(room(WATCHDOG_PID));
        }
        let mut moved = Vec::new();
        let mut place = |fd: &OwnedFd| out_of_the_way(fd, first_free, &mut moved);
        let stdio = [place(&launch.stdin)?, place(&launch.stdout)?, place(&launch.stderr)?];
        let listen = launch.listen.iter().map(&mut place).collect::<Result<_, _>>()?;
        let gate = gate.map(|gate| Ok((place(&gate.channel)?, gate.message.clone(), gate.seconds()))).transpose()?;
        let mut keep: Vec<RawFd> = launch.keep.iter().map(AsRawFd::as_raw_fd).collect();
        keep.extend(gate.as_ref().map(|(channel, ..)| *channel));
        keep.sort_unstable();
        Ok(Prepared {
            argv_pointers: pointers(&argv),
            env_pointers: own_pids.iter().fold(pointers(&env), |env, (_, last)| with_last(env, last)),
            own_pids,
            listen,
            first_free,
            program,
            cwd,
            _argv: argv,
            _env: env,
            stdio,
            _moved: moved,
            keep,
            nofile: launch.nofile.map(|limit| libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard }),
            umask: launch.umask,
            gate,
            alone: None,
            oom_score_adj: launch.oom_score_adj.and_then(|value| CString::new(value.to_string()).ok()),
            birth: launch.birth.as_ref().map(|birth| Birth {
                file: birth.file.as_raw_fd(),
                holes: holes(&birth.line),
                undone: birth.undone.clone(),
                parent: nix::unistd::getpid().as_raw(),
                line: birth.line.iter().copied().map(AtomicU8::new).collect(),
            }),
        })
    }

    /// Whether the bay can hold all that the child needs. Descriptors that are kept under their numbers can lie anywhere.
    pub(super) fn fits_in(&self, bay: &Bay) -> bool {
        let count =
            self.stdio.len() + usize::from(self.birth.is_some()) + usize::from(self.gate.is_some()) + self.listen.len();
        self.keep.len() == usize::from(self.gate.is_some()) && bay.has_room(count, self.first_free)
    }

    /// The child finds its descriptors in the bay, and copies no others.
    pub(super) fn lie_in(&mut self, launch: &Launch, gate: Option<&Gate>, bay: &mut Bay) -> io::Result<()> {
        let stdio = [&launch.stdin, &launch.stdout, &launch.stderr].into_iter();
        let birth = launch.birth.as_ref().map(|birth| &birth.file);
        let needed = stdio.chain(birth).chain(gate.map(|gate| &gate.channel)).chain(&launch.listen);
        let mut numbers = bay.lend(self.first_free, needed.map(AsFd::as_fd))?.into_iter();
        for place in &mut self.stdio {
            *place = numbers.next().unwrap_or(*place);
        }
        if let (Some(birth), Some(number)) = (&mut self.birth, birth.and_then(|_| numbers.next())) {
            birth.file = number;
        }
        if let Some((channel, ..)) = &mut self.gate
            && let Some(number) = numbers.next()
        {
            *channel = number;
            self.keep = vec![number];
        }
        for (place, number) in self.listen.iter_mut().zip(numbers) {
            *place = number;
        }
        self.alone = Some(bay.end());
        Ok(())
    }

    /// What the child works through.
    pub(super) fn plan<'a>(&'a self, report: &'a Report) -> Plan<'a> {
        Plan {
            program: &self.program,
            cwd: &self.cwd,
            argv: &self.argv_pointers,
            env: &self.env_pointers,
            stdio: self.stdio,
            listen: &self.listen,
            own_pids: &self.own_pids,
            keep: &self.keep,
            alone: self.alone,
            nofile: self.nofile,
            umask: self.umask,
            oom_score_adj: self.oom_score_adj.as_deref(),
            birth: self.birth.as_ref(),
            gate: self.gate.as_ref().map(|(channel, message, seconds)| GatePlan {
                channel: *channel,
                message,
                seconds: *seconds,
            }),
            report,
        }
    }
}

/// Where the first three runs of `#` are; empty where there are fewer.
fn holes(line: &[u8]) -> [Range<usize>; 3] {
    let mut from = 0;
    [(); 3].map(|()| {
        let rest = line.get(from..).unwrap_or_default();
        let start = rest.iter().position(|byte| *byte == b'#').map_or(line.len(), |at| from + at);
        let length = line.get(start..).unwrap_or_default().iter().take_while(|byte| **byte == b'#').count();
        from = start + length;
        start..from
    })
}

/// A null-terminated array of pointers into strings that outlive it.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// The pointers, their end behind one more string, if there is one. An [`AtomicU8`] is a byte in memory.
fn with_last(mut pointers: Vec<*const libc::c_char>, last: &[AtomicU8]) -> Vec<*const libc::c_char> {
    if !last.is_empty() {
        pointers.insert(pointers.len().saturating_sub(1), last.as_ptr().cast());
    }
    pointers
}

/// The lowest number that nothing is put in place at.
fn first_free(launch: &Launch) -> Result<RawFd, SpawnError> {
    let count = RawFd::try_from(launch.listen.len()).ok().filter(|count| *count <= MAX_LISTEN);
    let first = STDIO + count.ok_or_else(|| refused(format!("more than {MAX_LISTEN} sockets to hand in")))?;
    match launch.keep.iter().any(|fd| fd.as_raw_fd() < first) {
        true => Err(refused("a descriptor to keep lies where a socket is to be".to_owned())),
        false => Ok(first),
    }
}

/// A descriptor whose number nothing is put in place at, so that doing so cannot overwrite another one's source.
fn out_of_the_way(fd: &OwnedFd, first: RawFd, moved: &mut Vec<OwnedFd>) -> Result<RawFd, SpawnError> {
    if fd.as_raw_fd() >= first {
        return Ok(fd.as_raw_fd());
    }
    let copy = duplicate_from(fd, first).map_err(|error| SpawnError::new(Step::Descriptors, None, error))?;
    let number = copy.as_raw_fd();
    moved.push(copy);
    Ok(number)
}

fn duplicate_from(fd: &OwnedFd, first: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(first))?;
    // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(number) })
}

fn string(what: &str, text: &OsStr) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|_| refused(format!("{what} contains a NUL byte")))
}

fn assignment(name: &OsStr, value: &OsStr) -> Result<CString, SpawnError> {
    let shown = name.to_string_lossy();
    if name.is_empty() || name.as_bytes().contains(&b'=') {
        return Err(refused(format!("`{shown}` cannot be a variable's name")));
    }
    let mut bytes = Vec::with_capacity(name.len() + value.len() + 2);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'=');
    bytes.extend_from_slice(value.as_bytes());
    CString::new(bytes).map_err(|_| refused(format!("the variable `{}` contains a NUL byte", shown.escape_debug())))
}

fn refused(why: String) -> SpawnError {
    SpawnError::new(Step::Prepare, None, io::Error::new(io::ErrorKind::InvalidInput, why))
}
