//! One change as one line.

use crate::cli::style::{Style, Tint};
use crate::proto::Event;
use crate::words::clock::moment;
use crate::words::event::what;
use crate::words::units::printable;

/// `2026-05-28 14:03:07  api:0  online after 120ms (listening)  [start by uid 1000]`
pub(in crate::cli) fn line(event: &Event, style: Style) -> String {
    let place = match (&event.app, event.instance) {
        (Some(app), Some(instance)) => format!("{}:{instance}", printable(app)),
        (Some(app), None) => printable(app).into_owned(),
        (None, _) => "rsx".to_owned(),
    };
    let mut line = format!("{}  {}  {}", moment(event.time), style.paint(Tint::Cyan, &place), what(&event.event));
    let behind = match (&event.verb, event.uid) {
        (Some(verb), Some(uid)) => format!("  [{} by uid {uid}]", printable(verb)),
        (Some(verb), None) => format!("  [{}]", printable(verb)),
        (None, Some(uid)) => format!("  [by uid {uid}]"),
        (None, None) => String::new(),
    };
    line.push_str(&style.paint(Tint::Grey, &behind));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::EventKind;
    use crate::spec::ExitStatus;

    #[test]
    fn an_event_names_what_happened_to_whom_and_by_whom() {
        let event = Event {
            seq: 4,
            time: 0,
            app: Some("api".into()),
            id: Some(3),
            instance: Some(1),
            uid: Some(1000),
            verb: Some("restart".into()),
            event: EventKind::Exited {
                run: 2,
                pid: 99,
                status: ExitStatus::Code(3),
                uptime: 1_250,
                asked: false,
                left: true,
            },
        };
        let line = line(&event, Style::Plain);
        let told = "  api:1  exited: exit code 3, pid 99, after 1.2s, children left behind are being ended  [restart by uid 1000]";
        assert!(line.ends_with(told), "{line}");
    }
}
