//! Deeds: what a key or a command wants done to the apps, the question before, and what becomes of it.

use crate::proto::{Answer as SlotAnswer, Count, Progress, SlotResult, State, View};
use crate::tui::message::{Answer, Effect};
use crate::tui::model::command::{self, Deed, Verb};
use crate::tui::model::rows::Node;
use crate::tui::model::{Access, Job, JobState, Mode, Model};
use crate::words::units::{memory, printable, remaining};

/// How many jobs are remembered.
const JOBS: usize = 20;

/// Asks whether to do this to what is selected.
pub(super) fn propose(model: &mut Model, verb: Verb) {
    match selected_words(model) {
        Some(words) => propose_to(model, verb, words),
        None => model.complain("nothing is selected"),
    }
}

/// Asks whether to do this to what these words mean.
pub(super) fn propose_to(model: &mut Model, verb: Verb, words: Vec<String>) {
    if model.access == Access::ReadOnly {
        model.complain(format!("read only: {} is not done here", verb.word()));
        return;
    }
    let view = &model.live.view;
    let mut ids = Vec::new();
    for word in &words {
        let meant = command::meant(word, view);
        if meant.is_empty() {
            let text = format!("no app, namespace or id matches `{}`", printable(word));
            model.complain(text);
            return;
        }
        ids.extend(meant);
    }
    ids.sort_unstable();
    ids.dedup();
    let words = match verb {
        Verb::Scale(_) => match app_names(view, &ids) {
            names if names.len() == 1 => names,
            names => {
                let text = format!("scale takes one app, not {}: {}", names.len(), names.join(", "));
                model.complain(text);
                return;
            }
        },
        Verb::Reload
        | Verb::Restart
        | Verb::Start
        | Verb::Stop
        | Verb::Delete
        | Verb::Reset
        | Verb::Flush
        | Verb::Signal(_) => words,
    };
    let shown = named(view, &ids, verb);
    model.mode = Mode::Confirm(Deed { verb, targets: words, shown, count: ids.len() });
}

/// Does what was asked about.
pub(super) fn carry_out(model: &mut Model, deed: &Deed, effects: &mut Vec<Effect>) {
    let number = model.next_job;
    model.next_job += 1;
    model.notice = None;
    let of = u32::try_from(deed.count).unwrap_or(u32::MAX);
    model.jobs.push(Job {
        number,
        title: deed.to_string(),
        begun: model.now,
        state: JobState::Going { done: 0, of, last: String::new() },
    });
    if model.jobs.len() > JOBS {
        model.jobs.remove(0);
    }
    effects.push(Effect::Ask(number, Box::new(deed.call())));
}

pub(super) fn on_progress(model: &mut Model, number: u64, progress: &Progress) {
    let Some(job) = model.jobs.iter_mut().find(|job| job.number == number) else { return };
    let doing = progress.remaining.map_or_else(|| progress.state.to_string(), |rest| remaining(&rest));
    let last = format!("{}:{} {doing}", printable(&progress.name), progress.instance);
    job.state = JobState::Going { done: progress.done, of: progress.of, last };
}

pub(super) fn on_answer(model: &mut Model, number: u64, answer: Result<Answer, String>) {
    let at = model.now;
    let Some(job) = model.jobs.iter_mut().find(|job| job.number == number) else { return };
    let title = job.title.clone();
    let lines = match &answer {
        Ok(Answer::Results(results)) => results.iter().flat_map(failure).collect(),
        Ok(Answer::Files(files)) => {
            let problems = files
                .files
                .iter()
                .filter_map(|file| Some(format!("{}: {}", file.path.display(), printable(file.problem.as_ref()?))));
            problems.collect()
        }
        Err(why) => why.lines().map(str::to_owned).collect::<Vec<String>>(),
    };
    if lines.is_empty() {
        job.state = JobState::Done { at };
        if let Ok(Answer::Files(files)) = answer {
            let bytes = files.files.iter().map(|file| file.bytes).sum();
            model.tell(format!("{title}: {} emptied", memory(bytes)));
        }
        return;
    }
    job.state = JobState::Failed { at, lines };
    // What somebody is typing is not taken away; the line below says that there is something to read.
    if matches!(model.mode, Mode::Browse) {
        model.mode = Mode::Report(number, 0);
    }
}

/// The lines that say what did not go well with one instance.
fn failure(result: &SlotResult) -> Vec<String> {
    let place = format!("{}:{}", printable(&result.name), result.instance);
    match &result.answer {
        SlotAnswer::Done { .. } => Vec::new(),
        SlotAnswer::Failed { reason, stderr, next, remarks } => {
            let mut lines = vec![format!("failed: {place} {}", printable(reason))];
            lines.extend(stderr.iter().map(|line| format!("  | {}", printable(line))));
            lines.extend(remarks.iter().map(|remark| format!("  note: {}", printable(remark))));
            lines.extend(next.iter().map(|next| format!("  next: {}", printable(next))));
            lines
        }
        SlotAnswer::Pending { state: State::Launching } => {
            vec![format!("not done yet: {place} is still launching; it goes on by itself")]
        }
        SlotAnswer::Pending { state } => vec![format!("not done yet: {place} is {state}; it goes on by itself")],
        SlotAnswer::Superseded => vec![format!("superseded: another request for {place} came after this one")],
    }
}

/// Words by which the daemon finds what is selected, and nothing else.
pub(super) fn selected_words(model: &Model) -> Option<Vec<String>> {
    let row = model.row()?;
    let view = &model.live.view;
    let ids: Vec<u32> = row.ids.iter().copied().filter(|id| model.live.slot(*id).is_some()).collect();
    let word = match &row.node {
        Node::Namespace(name) | Node::App(_, name) => Some(name.clone()),
        Node::Slot(id) => {
            let (app, _) = model.live.slot(*id)?;
            (app.slots.len() == 1).then(|| app.name.clone())
        }
    };
    // A filter, or another app of the same name, makes a difference between the word and what is on the screen.
    let means = |word: &String| {
        let mut meant = command::meant(word, view);
        let mut wanted = ids.clone();
        meant.sort_unstable();
        wanted.sort_unstable();
        meant == wanted
    };
    if let Some(word) = word.filter(means) {
        return Some(vec![word]);
    }
    let words: Vec<String> = ids.iter().map(u32::to_string).collect();
    let is_exact = words.iter().zip(&ids).all(|(word, id)| command::meant(word, view) == [*id]);
    (is_exact && !words.is_empty()).then_some(words)
}

/// One more or one less of the selected app.
pub(super) fn scale(model: &mut Model, by: i32) {
    propose(model, Verb::Scale(Count::By(by)));
}

fn app_names(view: &View, ids: &[u32]) -> Vec<String> {
    let of = |app: &&crate::proto::AppView| app.slots.iter().any(|slot| ids.contains(&slot.id));
    view.apps.iter().filter(of).map(|app| app.name.clone()).collect()
}

/// `api (4 instances)`, `api:2`, `api, web and 3 more apps (12 instances)`.
fn named(view: &View, ids: &[u32], verb: Verb) -> String {
    let mut names: Vec<String> = Vec::new();
    for app in &view.apps {
        let slots: Vec<_> = app.slots.iter().filter(|slot| ids.contains(&slot.id)).collect();
        let is_whole = slots.len() == app.slots.len() || matches!(verb, Verb::Scale(_));
        match slots.as_slice() {
            [] => {}
            _ if is_whole => names.push(printable(&app.name).into_owned()),
            some => names.extend(some.iter().map(|slot| crate::words::place(app, slot))),
        }
    }
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    match (ids.len(), verb) {
        (count, Verb::Scale(Count::By(by))) => {
            let to = i64::try_from(count).unwrap_or(i64::MAX).saturating_add(i64::from(by));
            text.push_str(&format!(" ({count} → {to} instances)"));
        }
        (count, Verb::Scale(Count::To(to))) => text.push_str(&format!(" ({count} → {to} instances)")),
        (1, _) => {}
        (count, _) => text.push_str(&format!(" ({count} instances)")),
    }
    text
}
