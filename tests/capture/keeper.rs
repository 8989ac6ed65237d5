//! What the daemon will be: a thread for each run that answers its questions, and a group that both sides change under a
//! lock. Joins are one at a time because of it.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rsx::cluster::{
    Balance, Drain, Ending, Group, GroupKey, Mark, Member, MemberId, Outcome, Owner, Place, Reading, Run, SocketId,
    Standing, Step, Time, Traffic, Weight, free_tag,
};
use rsx::spec::Signal;
use rsx::sys::fds::Channel;
use rsx::sys::poller::readable_within;
use rsx::sys::proc_table::ProcTable;
use rsx::sys::process::Process;
use rsx::sys::seccomp::{Answer, Asked, Call, Listener, Question, Slots, SocketAddress, substitute};
use rsx::sys::spawn::{Gate, spawn_captured};
use rsx::sys::tcp::diag::{Connection, Diag};
use rsx::sys::tcp::{self, Cookie, Facts, Instruction, Kind, Tag};

use crate::clients::ask_from;
use crate::programs::Language;

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// Some copies of a server on one port.
pub(crate) struct Keeper {
    language: Language,
    port: u16,
    /// Keeps others from the port: bound and shared, and never listening.
    _reserved: OwnedFd,
    shared: Arc<Mutex<Shared>>,
    runs: Vec<Running>,
}

struct Running {
    process: Process,
    place: u32,
    is_over: bool,
    /// Ends with the last process of the run.
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    group: Option<Group>,
    /// Our duplicates of the members' sockets, and of those that are bound and do not listen yet.
    sockets: HashMap<SocketId, OwnedFd>,
    member_tags: HashMap<u64, Tag>,
    diag: Diag,
}

impl Keeper {
    pub(crate) fn new(language: Language) -> Keeper {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Shared before anybody else binds it, and out of the group again.
        tcp::share(&listener).unwrap();
        tcp::leave(&listener).unwrap();
        let shared =
            Shared { group: None, sockets: HashMap::new(), member_tags: HashMap::new(), diag: Diag::open().unwrap() };
        let shared = Arc::new(Mutex::new(shared));
        Keeper { language, port, _reserved: listener.into(), shared, runs: Vec::new() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn name(&self, run: Run) -> String {
        format!("run {}.", run.0)
    }

    pub(crate) fn place(&self, run: Run) -> u32 {
        self.runs[run.0 as usize].place
    }

    /// Starts a copy and waits until it listens.
    #[track_caller]
    pub(crate) fn start(&mut self, place: u32) -> Run {
        let run = Run(self.runs.len() as u64);
        let launch = self.language.launch(self.port, &self.name(run));
        let (ours, theirs) = Channel::pair().unwrap();
        let (sender, listens) = channel();
        let answerer = Answerer { run, place, port: self.port, shared: self.shared.clone(), listens: sender };
        let thread = std::thread::spawn(move || answerer.serve(&ours));
        let gate = Gate { channel: theirs.into_fd(), message: b"listener".to_vec(), limit: LIMIT };
        let process = spawn_captured(&launch, &gate).unwrap();
        self.runs.push(Running { process, place, is_over: false, thread: Some(thread) });
        wait(&listens);
        run
    }

    pub(crate) fn set_standing(&self, run: Run, standing: Standing) {
        let mut shared = self.lock();
        let id = shared.member(run).id;
        shared.group.as_mut().unwrap().set_standing(id, standing);
        shared.settle();
    }

    /// This one alone gets connections.
    pub(crate) fn only(&self, run: Run) {
        let others: Vec<MemberId> = {
            let shared = self.lock();
            let members = shared.group.as_ref().unwrap().members();
            members.filter(|member| member.id.run != run).map(|member| member.id).collect()
        };
        others.into_iter().for_each(|id| self.set_standing(id.run, Standing::Parked));
    }

    pub(crate) fn probe(&self, run: Run) -> String {
        let source = self.lock().member(run).mark.unwrap().source();
        ask_from(source, self.port)
    }

    pub(crate) fn queue_depth(&self, run: Run) -> u32 {
        let shared = self.lock();
        tcp::queue_depth(&shared.sockets[&shared.member(run).socket]).unwrap()
    }

    pub(crate) fn signal(&self, run: Run, signal: Signal) {
        self.runs[run.0 as usize].process.signal(signal).unwrap();
    }

    pub(crate) fn kill(&mut self, run: Run) {
        self.runs[run.0 as usize].kill();
    }

    /// Drains it: reads what is asked for when it is asked for.
    pub(crate) fn drain(&self, run: Run) -> Outcome {
        let start = Instant::now();
        let now = || Time(u64::try_from(start.elapsed().as_millis()).unwrap());
        let mut drain = Drain::new(now(), Duration::from_secs(10), Ending::Ours);
        let (_never, clock) = channel::<()>();
        while let Some((at, reading)) = drain.next() {
            // A clock, not a guess: the drain says when.
            assert_eq!(clock.recv_timeout(at.since(now())), Err(RecvTimeoutError::Timeout));
            match reading {
                Reading::HalfOpen => {
                    let found = self.lock().diag.half_open(self.port).unwrap();
                    drain.on_half_open(now(), &found.iter().map(|found| found.cookie.0).collect::<Vec<_>>());
                }
                Reading::Queue => drain.on_queue(now(), self.queue_depth(run)),
                Reading::Connections => {
                    let found = self.connections(run);
                    let quiet = drain.on_connections(now(), &found.iter().map(traffic).collect::<Vec<_>>());
                    self.end(run, found.into_iter().filter(|found| quiet.contains(&found.cookie.0)).collect());
                }
                Reading::Clock => drain.on_time(now()),
            }
        }
        drain.outcome().unwrap()
    }

    fn connections(&self, run: Run) -> Vec<Connection> {
        let mut shared = self.lock();
        let tag = shared.member_tags[&run.0];
        let all = shared.diag.connections(self.port).unwrap();
        all.into_iter().filter(|found| found.tag == tag).collect()
    }

    fn end(&self, run: Run, quiet: Vec<Connection>) {
        if !quiet.is_empty() {
            tcp::end_reading(&self.runs[run.0 as usize].process, &ProcTable::read().unwrap(), &quiet).unwrap();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for run in &mut self.runs {
            run.kill();
        }
    }
}

impl Running {
    fn kill(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let _ = self.process.signal_group(Signal::KILL);
        let ended = self.process.has_ended_within(LIMIT).is_ok_and(|ended| ended);
        let _ = self.process.reap();
        let answered = ended && self.thread.take().is_some_and(|thread| thread.join().is_ok());
        assert!(answered || std::thread::panicking(), "it did not end");
    }
}

impl Shared {
    fn member(&self, run: Run) -> Member {
        *self.group.as_ref().unwrap().members().find(|member| member.id.run == run).unwrap()
    }

    /// Carries out what the group asks for, comparing it with the kernel's list before each step.
    fn settle(&mut self) {
        let group = self.group.as_mut().unwrap();
        loop {
            let listed = self.diag.listeners(group.key().address.port()).unwrap();
            let listed: Vec<SocketId> = listed.iter().map(|found| SocketId(found.cookie.0)).collect();
            assert_eq!(group.observe(&listed), []);
            let Some(step) = group.next_step() else { return };
            match &step {
                Step::Attach { through, program } => {
                    let code: Vec<Instruction> = program.code().iter().map(instruction).collect();
                    tcp::attach(&self.sockets[through], &code).unwrap();
                }
                Step::Leave(socket) => tcp::leave(&self.sockets.remove(socket).unwrap()).unwrap(),
            }
            group.done(&step);
        }
    }
}

/// The thread of one run.
struct Answerer {
    run: Run,
    place: u32,
    port: u16,
    shared: Arc<Mutex<Shared>>,
    listens: Sender<()>,
}

impl Answerer {
    fn serve(&self, channel: &Channel) {
        let message = channel.recv().unwrap().unwrap();
        let listener = Listener::from_fd(message.fds.into_iter().next().unwrap()).unwrap();
        let mut slots = Slots::new().unwrap();
        loop {
            // It lasts as long as its run.
            while !readable_within(&listener, LIMIT).unwrap() {}
            let index = slots.free().unwrap();
            match listener.try_receive(&mut slots, index, self.run.0).unwrap() {
                Asked::Question(question) => {
                    let answer = self.decide(&listener, &question);
                    listener.answer(&question, answer).unwrap();
                    slots.clear(index);
                }
                Asked::Nothing => {}
                Asked::Ended => return,
            }
        }
    }

    fn decide(&self, listener: &Listener, question: &Question) -> Answer {
        match question.call {
            Call::Bind { fd, address, length } => {
                let seen =
                    listener.look(question, |caller| Ok((caller.duplicate(fd)?, caller.address(address, length)?)));
                // Killed meanwhile.
                let Ok((socket, SocketAddress::Inet(address))) = seen else { return Answer::Continue };
                if address.port() != self.port || tcp::kind(&socket).unwrap() == Kind::Other {
                    return Answer::Continue;
                }
                let mut shared = self.shared.lock().unwrap();
                if let Some(kept) = shared.group.as_ref().and_then(|group| {
                    let waits = |member: &&Member| member.place.0 == self.place && member.standing == Standing::Dead;
                    group.members().find(waits).copied()
                }) {
                    drop(socket);
                    substitute(listener, question, fd, shared.sockets[&kept.socket].as_fd()).unwrap();
                    shared.group.as_mut().unwrap().inherited(kept.id, self.id(), Standing::Starting);
                    return Answer::Done;
                }
                tcp::share(&socket).unwrap();
                shared.sockets.insert(SocketId(Cookie::of(&socket).unwrap().0), socket);
                Answer::Continue
            }
            Call::Listen { fd, backlog } => {
                let Ok(socket) = listener.look(question, |caller| caller.duplicate(fd)) else {
                    return Answer::Continue;
                };
                let id = SocketId(Cookie::of(&socket).unwrap().0);
                let mut shared = self.shared.lock().unwrap();
                if !shared.sockets.contains_key(&id) {
                    return Answer::Continue;
                }
                tcp::join(&socket, backlog).unwrap();
                self.joined(&mut shared, &Facts::of(&socket).unwrap());
                self.listens.send(()).unwrap();
                Answer::Done
            }
            Call::Gate | Call::Other => Answer::Continue,
        }
    }

    fn joined(&self, shared: &mut Shared, facts: &Facts) {
        let socket = SocketId(facts.cookie.0);
        let tag = Tag::new(free_tag(shared.member_tags.values().map(|tag| tag.number()))).unwrap();
        tcp::set_tag(&shared.sockets[&socket], tag).unwrap();
        shared.member_tags.insert(self.run.0, tag);
        let Facts { address, v6only, device, uid, namespace, .. } = *facts;
        let key = GroupKey { namespace, address, v6only, device, uid };
        let member = Member {
            socket,
            id: self.id(),
            place: Place(self.place),
            weight: Weight::MIN,
            mark: Some(Mark::new(u16::try_from(self.run.0).unwrap())),
            standing: Standing::Starting,
        };
        shared.group.get_or_insert_with(|| Group::new(key, Balance::Random)).joined(member);
        shared.settle();
    }

    fn id(&self) -> MemberId {
        MemberId { run: self.run, owner: Owner(0), nth: 0 }
    }
}

#[track_caller]
fn wait(listens: &Receiver<()>) {
    listens.recv_timeout(LIMIT).expect("it listens");
}

pub(crate) fn instruction(found: &rsx::cluster::Instruction) -> Instruction {
    let rsx::cluster::Instruction { code, jt, jf, k } = *found;
    Instruction { code, jt, jf, k }
}

fn traffic(found: &Connection) -> Traffic {
    Traffic {
        connection: found.cookie.0,
        is_accepted: found.inode != 0,
        is_ended: found.is_ended,
        unread: found.unread,
        unsent: found.unsent,
        received: found.received,
        sent: found.sent,
        since_received: found.since_received,
        since_sent: found.since_sent,
    }
}
