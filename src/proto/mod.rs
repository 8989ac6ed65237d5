//! What client and daemon say to each other: JSON-RPC 2.0, one message a line, over a UNIX socket.
//!
//! The first message of a connection is `hello` with the protocol version; anything else is refused. A call is answered
//! once; until then the daemon may send `progress` notifications. `events` turns the connection into a stream of
//! `event` notifications. `docs/PROTOCOL.md` shows how to drive it with socat.
//!
//! This layer has no behaviour beyond reading and writing these messages.

mod call;
mod care;
mod event;
mod frame;
mod history;
mod journal;
mod kept;
mod key;
mod refusal;
mod rollout;
mod said;
mod sockets;
mod stream;
mod view;

pub use call::{
    Act, Answer, Applied, Apply, Call, DaemonAnswer, Hello, HelloAnswer, Outcome, PlanAction, PlanStep, Progress,
    ResurrectCall, Saved, SlotResult, StartApp, Target, Unchanged, UpdateCall, Updating, ViewCall, ViewDetail,
};
pub use care::{
    Count, EnvCall, Environments, FlushCall, InstanceEnv, LogFile, LogFiles, MAX_INPUT, Past, PastCall, RotateCall,
    ScaleCall, SendCall, SignalCall,
};
pub use event::{Event, EventKind, HeavyThen};
pub use frame::{FrameError, LineCodec};
pub use history::{History, HistoryCall, InstanceHistory, MAX_VALUES, SeriesHistory, StepName};
pub use journal::{
    AnswerRecord, AppRecord, AskedRecord, BatchRecord, BornRecord, CircuitRecord, ExitRecord, FailedRecord, GoalRecord,
    Head, JOURNAL_VERSION, LaunchRecord, LogRecord, Next, PhaseRecord, Record, ResultRecord, RunRecord, SlotRecord,
    StageRecord, WaitRecord, WantRecord, WishRecord,
};
pub use kept::{KEPT_VERSION, Kept, KeptApp, KeptSlot};
pub use key::{Key, KeyError};
pub use refusal::Refusal;
pub use rollout::{MannerRecord, RolloutRecord};
pub use said::{MetricView, NodeView, SaidView};
pub use sockets::{
    BalanceRecord, CapturedRecord, GroupRecord, MemberRecord, PlaceRecord, SOCKETS_VERSION, SocketRecord,
    StandingRecord,
};
pub use stream::{EventsAnswer, EventsCall, Mark, Resumed};
pub use view::{
    AppView, CheckView, CircuitView, DaemonView, DrainView, ExitCause, ExitView, HealthView, PortView, Remaining,
    RestartsView, SecondState, SecondView, SlotView, State, UPDATE_FAILED, View,
};

mod message;
pub use message::{
    Incoming, Message, MessageError, read_call, write_call, write_notification, write_refusal, write_result,
};

/// The version of this protocol. It goes up when one side would misunderstand the other.
pub const PROTOCOL: u32 = 1;

/// The oldest version that is still spoken: that of the release before this one.
pub const OLDEST_PROTOCOL: u32 = 1;

/// Whether this release speaks a version. Of two releases the older one decides: a daemon takes an older client as it is,
/// and a client that an older daemon has refused greets it again in its version.
pub fn speaks(version: u32) -> bool {
    (OLDEST_PROTOCOL..=PROTOCOL).contains(&version)
}

/// The longest message in bytes, either way. Checked before anything is allocated for it.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// The longest message in bytes before `hello` has been accepted.
pub const MAX_HELLO: usize = 4 * 1024;
