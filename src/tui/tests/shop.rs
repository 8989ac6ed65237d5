//! A shop of apps to look at: one of each state, one that is being reloaded, one with many instances.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use crate::proto::{AppView, DaemonView, Event, EventKind, ExitView, PortView, SlotView, State, View};
use crate::spec::{AppSpec, ExecMode, ExitStatus};
use crate::tui::message::{Effect, Link, Message};
use crate::tui::model::logs::{Fresh, News};
use crate::tui::model::series::Point;
use crate::tui::model::{Access, Model};
use crate::tui::update::update;
use crate::tui::view::draw;
use crate::tui::view::theme::Theme;
use crate::words::sample::{self, NOW};

/// A model before anything has come.
pub(crate) fn model(size: (u16, u16)) -> Model {
    Model::new(NOW, size, Access::Full, Theme::Terminal)
}

/// A model with somebody in front of it.
pub(crate) struct Desk {
    pub(crate) model: Model,
    pub(crate) now: u64,
    /// What was wanted so far.
    pub(crate) effects: Vec<Effect>,
}

impl Desk {
    /// A screen of this size on which the shop is open since five minutes.
    pub(crate) fn open(size: (u16, u16)) -> Desk {
        let mut desk = Desk { model: model(size), now: NOW, effects: Vec::new() };
        desk.tell(Message::Link(Link::Up));
        desk.tell(Message::Events(events(), None));
        desk.tell(Message::View(Box::new(view())));
        desk.tell(Message::Past(past()));
        desk
    }

    pub(crate) fn tell(&mut self, message: Message) {
        let mut effects = Vec::new();
        update(&mut self.model, self.now, message, &mut effects);
        // The files are there at once.
        for effect in &effects {
            if let Effect::Logs(wish) = effect {
                let lines = lines(wish.sources.len());
                update(
                    &mut self.model,
                    self.now,
                    Message::Logs(wish.number, News::Past { lines, is_whole: false }),
                    &mut Vec::new(),
                );
            }
        }
        self.effects.extend(effects);
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, code: KeyCode) {
        self.tell(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    /// Types a text, a key a character; `\n` is Enter, `\t` Tab, `\x1b` Esc.
    pub(crate) fn keys(&mut self, text: &str) {
        for c in text.chars() {
            self.press(match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\x1b' => KeyCode::Esc,
                c => KeyCode::Char(c),
            });
        }
    }

    /// Clicks on the first place where this text stands.
    #[track_caller]
    pub(crate) fn click(&mut self, text: &str) {
        let screen = self.screen();
        let found = screen
            .lines()
            .zip(0_u16..)
            .find_map(|(line, y)| line.find(text).map(|at| (u16::try_from(line[..at].chars().count()).unwrap(), y)));
        let (column, row) = found.unwrap_or_else(|| panic!("no {text:?} on\n{screen}"));
        let kind = MouseEventKind::Down(MouseButton::Left);
        self.tell(Message::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
    }

    /// Lets time pass, in milliseconds.
    pub(crate) fn pass(&mut self, time: u64) {
        self.now += time;
        self.tell(Message::Clock);
    }

    pub(crate) fn buffer(&self) -> Buffer {
        let (width, height) = self.model.size;
        let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width, height });
        draw(&self.model, &mut buffer);
        buffer
    }

    /// The screen as text; local times, which differ from machine to machine, left out.
    pub(crate) fn screen(&self) -> String {
        let buffer = self.buffer();
        let mut text = String::new();
        for y in 0..buffer.area.height {
            let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol().to_owned()).collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let times = [
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[date]   [time]    "),
            (r"\d\d-\d\d \d\d:\d\d:\d\d", "[date] [time] "),
            (r"\d\d:\d\d:\d\d", "[ time ]"),
        ];
        times
            .iter()
            .fold(text, |text, (time, to)| regex_lite::Regex::new(time).unwrap().replace_all(&text, *to).into_owned())
    }

    /// Asserts that the screen shows all of these.
    #[track_caller]
    pub(crate) fn shows(&self, texts: &[&str]) {
        let screen = self.screen();
        for text in texts {
            assert!(screen.contains(text), "no {text:?} on\n{screen}");
        }
    }

    #[track_caller]
    pub(crate) fn hides(&self, text: &str) {
        let screen = self.screen();
        assert!(!screen.contains(text), "{text:?} on\n{screen}");
    }
}

fn slot(id: u32, instance: u16, state: State) -> SlotView {
    let mut slot = sample::slot(id, instance, state);
    slot.restarts = 0;
    slot
}

fn app(name: &str, namespace: &str, slots: Vec<SlotView>) -> AppView {
    let mut app = sample::app(name, slots);
    app.namespace = namespace.into();
    let spec = AppSpec { namespace: namespace.into(), ..AppSpec::sample(name) };
    app.spec = Some(spec);
    app
}

/// The apps of the shop.
pub(crate) fn view() -> View {
    let mut api: Vec<SlotView> = (0..4)
        .map(|n| {
            let mut slot = slot(n, n as u16, State::Online);
            slot.run = if n < 2 { 20 + u64::from(n) } else { 1 + u64::from(n) };
            slot.cpu = [12.4, 8.1, 23.9, 5.5][n as usize];
            slot.memory = 80_000_000 + 7_000_000 * u64::from(n);
            slot.ports = vec![PortView {
                address: "0.0.0.0:3000".parse().unwrap(),
                members: 5,
                serving: 4,
                queued: n,
                sharing: 0,
                connections: Some(3 + 2 * n),
                overflows: 0,
            }];
            slot
        })
        .collect();
    api[0].started = Some(NOW - 42_000);
    let mut api = app("api", "shop", api);
    api.mode = ExecMode::Cluster;
    api.version = Some("2.4.1".into());
    let mut worker = slot(4, 0, State::Errored);
    worker.restarts = 16;
    worker.unstable = 16;
    worker.reason = Some("exit code 1, 16 lives shorter than 1s within 10 minutes".into());
    worker.next_attempt = Some(NOW + 42_000);
    worker.history = vec![ExitView {
        run: 9,
        pid: 4009,
        time: NOW - 18_000,
        uptime: 340,
        status: Some(ExitStatus::Code(1)),
        reason: "exit code 1".into(),
        by: None,
        stderr: vec!["Error: connect ECONNREFUSED 127.0.0.1:5432".into(), "    at db.js:12".into()],
    }];
    worker.last_exit = worker.history.first().cloned();
    let mut mail = slot(5, 0, State::Waiting);
    mail.restarts = 2;
    mail.reason = Some("SIGSEGV (core dumped)".into());
    mail.next_attempt = Some(NOW + 1_500);
    let mut search = slot(6, 0, State::Launching);
    search.started = Some(NOW - 1_200);
    search.cpu = 97.0;
    let web = (7..10).map(|n| slot(n, (n - 7) as u16, State::Online)).collect();
    View {
        generation: 7,
        daemon: DaemonView {
            version: "0.1.0".into(),
            pid: 77,
            guardian: 76,
            started: NOW - 3 * 86_400_000,
            parked: 0,
            notices: Vec::new(),
            metrics: None,
        },
        apps: vec![
            api,
            app("worker", "shop", vec![worker]),
            app("mail", "shop", vec![mail]),
            app("search", "shop", vec![search]),
            app("web", "default", web),
            app("backup", "batch", vec![slot(10, 0, State::Stopped)]),
        ],
    }
}

/// A reload of `api` that is half done, and the end of `worker`.
fn events() -> Vec<Event> {
    let online = |run| EventKind::Online { run, after: 640, by: "listening".into() };
    let exited =
        |run, asked| EventKind::Exited { run, pid: 4009, status: ExitStatus::Code(1), uptime: 340, asked, left: false };
    let mut story: Vec<(u64, &str, Option<u32>, EventKind)> = Vec::new();
    for id in 0..4 {
        story.push((18_000_000, "api", Some(id), EventKind::Started { pid: 3000 + id, run: 1 + u64::from(id) }));
        story.push((17_999_000, "api", Some(id), online(1 + u64::from(id))));
    }
    story.push((18_400, "worker", Some(4), EventKind::Started { pid: 4009, run: 9 }));
    story.push((18_000, "worker", Some(4), exited(9, false)));
    let reason = "exit code 1, 16 lives shorter than 1s within 10 minutes".to_owned();
    story.push((18_000, "worker", Some(4), EventKind::Errored { reason, retry: Some(60_000) }));
    story.push((5_000, "api", Some(0), EventKind::Started { pid: 5000, run: 20 }));
    story.push((4_200, "api", Some(0), online(20)));
    story.push((4_100, "api", Some(0), EventKind::Draining { run: 1 }));
    story.push((3_000, "api", Some(0), EventKind::Stopping { run: 1, signal: "SIGTERM".into() }));
    story.push((2_500, "api", Some(1), EventKind::Started { pid: 5001, run: 21 }));
    let event = |(seq, (ago, app, id, event)): (u64, (u64, &str, Option<u32>, EventKind))| Event {
        seq,
        time: NOW - ago,
        app: Some(app.into()),
        id,
        instance: Some(if app == "api" { id.unwrap_or(0) as u16 } else { 0 }),
        uid: (app == "api").then_some(1000),
        verb: (app == "api").then(|| "reload".into()),
        event,
    };
    (1..).zip(story).map(event).collect()
}

/// Five minutes of measurements of `api`, as waves.
fn past() -> Vec<(u32, Vec<Point>)> {
    let points = |id: u32| {
        let point = |n: u64| {
            let wave = ((n as f32 / 9.0 + id as f32).sin() + 1.0) / 2.0;
            Point {
                time: NOW - (150 - n) * 2_000,
                cpu: Some(4.0 + 30.0 * wave * wave),
                memory: Some(70e6 + 1e5 * n as f32 + 5e6 * wave),
                connections: None,
                queue: (id < 4).then(|| (4.0 * wave).floor()),
                lag: (id < 4).then_some(1.0 + 9.0 * wave),
                heap: (id < 4).then_some(21e6 + 14e6 * (n % 24) as f32 / 24.0),
            }
        };
        (0..149).map(point).collect()
    };
    [0, 1, 2, 3, 6, 7, 8, 9].map(|id| (id, points(id))).to_vec()
}

fn lines(sources: usize) -> Vec<Fresh> {
    let line = |n: usize| {
        let text = match n % 7 {
            3 => format!("\x1b[32mGET\x1b[0m /orders/{} 200 {}ms", 1000 + n, n % 31),
            5 => format!(
                "\x1b[33mwarn\x1b[0m slow query: select * from orders where customer = {n} order by placed desc limit 50 offset 1000, took {} ms, plan: seq scan on orders",
                900 + n
            ),
            _ => format!("\x1b[32mGET\x1b[0m /articles/{n} 200 {}ms", n % 23),
        };
        Fresh { source: (n * 2) % sources.max(1), text }
    };
    if sources == 0 { Vec::new() } else { (0..120).map(line).collect() }
}
