//! The columns of the list: what each is called, how wide it is, what gives way on a narrow screen, and how it sorts.

use std::cmp::Ordering;

use crate::tui::model::rows::Row;
use crate::words::units;

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Column {
    Name,
    Id,
    Status,
    Cpu,
    CpuGraph,
    Memory,
    MemoryGraph,
    Uptime,
    Restarts,
    Connections,
    Queue,
    Lag,
    Pid,
    Mode,
    User,
    Version,
    Namespace,
}

use Column::{
    Connections, Cpu, CpuGraph, Id, Lag, Memory, MemoryGraph, Mode, Name, Namespace, Pid, Queue, Restarts, Status,
    Uptime, User, Version,
};

/// In the order of the screen.
pub(crate) const ALL: [Column; 17] = [
    Name,
    Id,
    Status,
    Cpu,
    CpuGraph,
    Memory,
    MemoryGraph,
    Uptime,
    Restarts,
    Connections,
    Queue,
    Lag,
    Pid,
    Mode,
    Namespace,
    User,
    Version,
];

/// What a narrow screen loses, first to last.
const LOSSES: [Column; 14] =
    [User, Version, Namespace, Mode, Pid, Id, MemoryGraph, Lag, Queue, Connections, CpuGraph, Restarts, Uptime, Memory];

/// The least that a name gets.
pub(crate) const NAME_WIDTH: u16 = 16;

impl Column {
    /// What stands above it, and what `:sort` calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Name => "name",
            Id => "id",
            Status => "status",
            Cpu => "cpu",
            CpuGraph | MemoryGraph => "",
            Memory => "mem",
            Uptime => "uptime",
            Restarts => "↺",
            Connections => "conns",
            Queue => "queue",
            Lag => "lag",
            Pid => "pid",
            Mode => "mode",
            User => "user",
            Version => "version",
            Namespace => "namespace",
        }
    }

    /// The word for `:sort`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Restarts => "restarts",
            CpuGraph => "cpu",
            MemoryGraph => "mem",
            Name | Id | Status | Cpu | Memory | Uptime | Connections | Queue | Lag | Pid | Mode | User | Version
            | Namespace => self.title(),
        }
    }

    /// The column of this word.
    pub(crate) fn of_word(word: &str) -> Option<Column> {
        match word {
            "memory" => Some(Memory),
            "connections" => Some(Connections),
            "state" => Some(Status),
            _ => ALL.into_iter().find(|column| column.word() == word),
        }
    }

    pub(crate) fn width(self) -> u16 {
        match self {
            Name => NAME_WIDTH,
            Id => 4,
            Status => 17,
            Cpu => 6,
            CpuGraph | MemoryGraph => 8,
            Memory => 8,
            Uptime => 6,
            Restarts => 4,
            Connections => 5,
            Queue => 5,
            Lag => 6,
            Pid => 7,
            Mode => 7,
            User => 8,
            Version => 8,
            Namespace => 10,
        }
    }

    pub(crate) fn is_right(self) -> bool {
        match self {
            Id | Cpu | Memory | Uptime | Restarts | Connections | Queue | Lag | Pid => true,
            Name | Status | CpuGraph | MemoryGraph | Mode | User | Version | Namespace => false,
        }
    }

    /// Whether the greatest is what one looks for first.
    pub(crate) fn is_descending(self) -> bool {
        match self {
            Cpu | CpuGraph | Memory | MemoryGraph | Restarts | Connections | Queue | Lag => true,
            Name | Id | Status | Uptime | Pid | Mode | User | Version | Namespace => false,
        }
    }

    /// What stands in it; names and statuses are drawn by the view.
    pub(crate) fn text(self, row: &Row) -> String {
        let some = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        match self {
            Name => row.name.clone(),
            Id => row.id.map(|id| id.to_string()).unwrap_or_default(),
            Status => row.status.clone(),
            Cpu => {
                if row.is_running() {
                    units::cpu(row.load.cpu)
                } else {
                    "-".to_owned()
                }
            }
            CpuGraph | MemoryGraph => String::new(),
            Memory => {
                if row.is_running() {
                    units::memory(row.load.memory)
                } else {
                    "-".to_owned()
                }
            }
            Uptime => some(row.uptime.map(units::span)),
            Restarts => row.restarts.to_string(),
            Connections => some(row.load.connections.map(|count| count.to_string())),
            Queue => some(row.load.queue.map(|count| count.to_string())),
            Lag => some(row.load.lag.map(|lag| format!("{lag:.0}ms"))),
            Pid => row.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            Mode => row.mode.to_owned(),
            User => row.user.clone(),
            Version => row.version.clone(),
            Namespace => row.namespace.clone(),
        }
    }

    /// The order of two rows.
    pub(crate) fn compare(self, a: &Row, b: &Row) -> Ordering {
        match self {
            Name => natural(&a.name, &b.name),
            Id => a.first_id.cmp(&b.first_id),
            // What needs attention comes first.
            Status => b.worst.cmp(&a.worst).then_with(|| a.status.cmp(&b.status)),
            Cpu | CpuGraph => a.load.cpu.total_cmp(&b.load.cpu),
            Memory | MemoryGraph => a.load.memory.cmp(&b.load.memory),
            // What runs since yesterday comes behind what has just started; what does not run comes last.
            Uptime => a.uptime.unwrap_or(u64::MAX).cmp(&b.uptime.unwrap_or(u64::MAX)),
            Restarts => a.restarts.cmp(&b.restarts),
            Connections => a.load.connections.cmp(&b.load.connections),
            Queue => a.load.queue.cmp(&b.load.queue),
            Lag => a.load.lag.unwrap_or(-1.0).total_cmp(&b.load.lag.unwrap_or(-1.0)),
            Pid => a.pid.cmp(&b.pid),
            Mode => a.mode.cmp(b.mode),
            User => a.user.cmp(&b.user),
            Version => natural(&a.version, &b.version),
            Namespace => natural(&a.namespace, &b.namespace),
        }
    }
}

/// `api-2` before `api-10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (da, db) = (digits(a), digits(b));
        if da > 0 && db > 0 {
            let (na, nb) = (a[..da].trim_start_matches('0'), b[..db].trim_start_matches('0'));
            let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[da..], &b[db..]);
            continue;
        }
        let (ca, cb) = (a.chars().next(), b.chars().next());
        match (ca, cb) {
            (Some(x), Some(y)) if x == y => (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]),
            _ => return ca.cmp(&cb),
        }
    }
}

/// The columns that fit into this width, each with where it begins and how wide it is. `has` says whether a column has
/// anything to show.
pub(crate) fn fitting(width: u16, has: impl Fn(Column) -> bool) -> Vec<(Column, u16, u16)> {
    let mut shown: Vec<Column> = ALL.into_iter().filter(|column| has(*column)).collect();
    let total = |shown: &[Column]| shown.iter().map(|column| column.width() + 1).sum::<u16>();
    for lost in LOSSES {
        if total(&shown) <= width {
            break;
        }
        shown.retain(|column| *column != lost);
    }
    // What is left over goes to the names, and to the graphs where there is much of it.
    let missing = total(&shown).saturating_sub(width);
    let mut spare = width.saturating_sub(total(&shown));
    let names = spare.min(24);
    spare -= names;
    let graphs = shown.iter().filter(|column| matches!(column, CpuGraph | MemoryGraph)).count();
    let each = u16::try_from(graphs).ok().filter(|count| *count > 0).map_or(0, |count| (spare / count).min(24));
    let mut at = 0;
    let place = |column: Column| {
        let width = match column {
            Name => column.width().saturating_sub(missing) + names,
            CpuGraph | MemoryGraph => column.width() + each,
            Id | Status | Cpu | Memory | Uptime | Restarts | Connections | Queue | Lag | Pid | Mode | User
            | Version | Namespace => column.width(),
        };
        let begin = at;
        at += width + 1;
        (column, begin, width)
    };
    shown.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["api-10", "api-2", "Api", "api-02b", "web"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["Api", "api-2", "api-02b", "api-10", "web"]);
    }

    #[test]
    fn columns_never_overlap_and_never_leave_the_screen() {
        for width in 36..260 {
            let columns = fitting(width, |_| true);
            let mut end = 0;
            for (column, begin, wide) in &columns {
                assert!(*begin >= end, "{column:?} at {width}");
                end = begin + wide;
            }
            assert!(end <= width, "{end} of {width}: {columns:?}");
            assert_eq!(columns[0].0, Name);
        }
        assert!(fitting(60, |_| true).iter().any(|(column, ..)| *column == Cpu));
        assert_eq!(fitting(250, |_| true).len(), ALL.len());
    }
}
