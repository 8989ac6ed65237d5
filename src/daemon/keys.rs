//! The names that clients give to their requests: who lost his connection asks again, and nothing is done twice.

use std::collections::{BTreeMap, VecDeque};

use crate::daemon::journal;
use crate::proto::{AskedRecord, BatchRecord};
use crate::supervisor::{Batch, Reply, RequestId, Supervisor, Waiter};

/// How many answers are kept for those who ask again.
const KEPT: usize = 256;

/// How many results of slots these answers hold together, the youngest answer apart: an answer for each of a thousand
/// slots is worth remembering, hundreds of them are not.
const RESULTS: usize = 2048;

/// Requests by the names that clients gave them.
#[derive(Debug, Default)]
pub(super) struct Keys {
    next: u64,
    waiting: BTreeMap<RequestId, String>,
    /// The youngest last.
    answered: VecDeque<(String, Reply)>,
}

/// What is known of a name.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    /// Nothing.
    Not,
    /// Its request waits for its answer.
    Waits(RequestId),
    /// This was the answer.
    Answered(Reply),
}

impl Keys {
    pub(super) fn find(&self, key: &str) -> Known {
        if let Some((id, _)) = self.waiting.iter().find(|(_, known)| *known == key) {
            return Known::Waits(*id);
        }
        let answered = self.answered.iter().find(|(known, _)| known == key);
        answered.map_or(Known::Not, |(_, reply)| Known::Answered(reply.clone()))
    }

    /// The number of a new request.
    pub(super) fn new_request(&mut self, key: Option<String>) -> RequestId {
        self.next += 1;
        let id = RequestId(self.next);
        self.waiting.extend(key.map(|key| (id, key)));
        id
    }

    /// The requests of an earlier daemon, under the numbers that they have now.
    pub(super) fn recall(&mut self, asked: Vec<AskedRecord>) -> Vec<Waiter> {
        let mut waiters = Vec::with_capacity(asked.len());
        for record in asked {
            let (key, waiter) = journal::recalled_waiter(self.new_request(None), record);
            self.waiting.insert(waiter.request, key);
            waiters.push(waiter);
        }
        waiters
    }

    /// The requests of an earlier daemon that have not asked all of their slots; after [`Keys::recall`].
    pub(super) fn recall_batches(&mut self, batches: Vec<BatchRecord>) -> Vec<Batch> {
        let mut recalled = Vec::with_capacity(batches.len());
        for record in batches {
            let known = record.key.as_deref().and_then(|key| self.waiting.iter().find(|(_, known)| *known == key));
            let request = known.map(|(id, _)| *id);
            recalled.push(journal::recalled_batch(request.unwrap_or_else(|| self.new_request(None)), record));
        }
        recalled
    }

    /// All batches, for the journal.
    pub(super) fn batches(&self, core: &Supervisor) -> Vec<BatchRecord> {
        core.batches().iter().map(|batch| journal::batch(self.key(batch.request), batch)).collect()
    }

    pub(super) fn key(&self, id: RequestId) -> Option<&str> {
        self.waiting.get(&id).map(String::as_str)
    }

    /// An answer is on its way; what the journal has to know of it. A refusal is not worth keeping: whoever asks again is
    /// refused again.
    pub(super) fn answered(&mut self, id: RequestId, reply: &Reply) -> Option<AskedRecord> {
        let key = self.waiting.remove(&id)?;
        let record = journal::answered(&key, reply)?;
        self.answered.push_back((key, reply.clone()));
        self.forget_old();
        Some(record)
    }

    fn forget_old(&mut self) {
        let mut results: usize = self.answered.iter().map(|(_, reply)| size(reply)).sum();
        while self.answered.len() > KEPT || (results > RESULTS && self.answered.len() > 1) {
            let forgotten = self.answered.pop_front();
            results -= forgotten.map_or(0, |(_, reply)| size(&reply));
        }
    }

    /// All of them, for the journal.
    pub(super) fn records(&self, core: &Supervisor) -> Vec<AskedRecord> {
        let answered = self.answered.iter().filter_map(|(key, reply)| journal::answered(key, reply));
        let waiting = self.waiting.iter().filter_map(|(id, key)| Some(journal::waiting(key, core.waiter(*id)?)));
        answered.chain(waiting).collect()
    }
}

/// How many results of slots an answer holds.
fn size(reply: &Reply) -> usize {
    match reply {
        Reply::Applied { results, .. } | Reply::Outcome(results) => results.len(),
        Reply::Refused(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{SlotAnswer, SlotId, SlotResult};

    /// Answers a request of this name for so many slots.
    fn answer(keys: &mut Keys, key: &str, slots: u32) {
        let id = keys.new_request(Some(key.into()));
        let result =
            |slot| SlotResult { slot: SlotId(slot), name: "api".into(), instance: 0, answer: SlotAnswer::Superseded };
        keys.answered(id, &Reply::Outcome((0..slots).map(result).collect()));
    }

    #[test]
    fn a_request_is_known_by_its_name_until_many_others_were_answered() {
        let mut keys = Keys::default();
        let id = keys.new_request(Some("a".into()));
        assert_eq!(keys.find("a"), Known::Waits(id));
        keys.answered(id, &Reply::Outcome(Vec::new()));
        assert_eq!(keys.find("a"), Known::Answered(Reply::Outcome(Vec::new())));
        for number in 0..KEPT {
            let id = keys.new_request(Some(number.to_string()));
            keys.answered(id, &Reply::Outcome(Vec::new()));
        }
        assert_eq!(keys.find("a"), Known::Not);
    }

    #[test]
    fn answers_for_many_slots_are_kept_for_as_many_slots_only() {
        let mut keys = Keys::default();
        answer(&mut keys, "a", 1000);
        answer(&mut keys, "b", 1000);
        answer(&mut keys, "c", 40);
        assert!([keys.find("a"), keys.find("b"), keys.find("c")].iter().all(|known| *known != Known::Not));
        answer(&mut keys, "d", 1000);
        assert_eq!(keys.find("a"), Known::Not);
        assert_ne!(keys.find("b"), Known::Not);
        answer(&mut keys, "e", 5000);
        assert_eq!(keys.find("d"), Known::Not);
        assert_ne!(keys.find("e"), Known::Not, "the youngest is kept, whatever its size");
    }

    #[test]
    fn what_was_refused_is_asked_anew() {
        let mut keys = Keys::default();
        let id = keys.new_request(Some("a".into()));
        keys.answered(id, &Reply::Refused(crate::supervisor::Refusal::Leaving));
        assert_eq!(keys.find("a"), Known::Not);
    }
}
