//! What is known of runs and sockets, as the records that a successor reads.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use crate::cluster::{GroupKey, Member, SocketId, Standing};
use crate::daemon::cluster::Wants;
use crate::daemon::cluster::ports::{Captured, Port};
use crate::proto::{CapturedRecord, GroupRecord, MemberRecord, PlaceRecord, SocketRecord, StandingRecord};
use crate::supervisor::RunId;
use crate::sys::seccomp::Asker;
use crate::sys::tcp::Tag;

/// Everything, for a ledger that is written anew.
pub(super) fn records(groups: &[Port], runs: &BTreeMap<RunId, Captured>) -> Vec<SocketRecord> {
    let runs = runs.iter().map(|(run, captured)| SocketRecord::Run(captured_record(*run, captured)));
    runs.chain(groups.iter().map(|port| SocketRecord::Group(group_record(port, None)))).collect()
}

pub(super) fn captured_record(run: RunId, captured: &Captured) -> CapturedRecord {
    let Captured { slot, instance, app, wants, needs, listens, standing: good_for, ended, bound, sockets, .. } =
        captured;
    let Captured { inspected, remarks, places, tags, .. } = captured;
    let Wants { only, inspectors, has_one_queue } = wants;
    let place = |((process, number), socket): (&(Asker, RawFd), &SocketId)| PlaceRecord {
        process: process.0,
        number: *number,
        socket: socket.0,
    };
    CapturedRecord {
        run: run.0,
        slot: slot.0,
        app: app.clone(),
        needs: needs.clone(),
        listens: listens.clone(),
        standing: standing(*good_for),
        ended: *ended,
        bound: bound.iter().map(|socket| socket.0).collect(),
        sockets: *sockets,
        instance: *instance,
        only: only.clone(),
        inspectors: inspectors.clone(),
        inspected: inspected.clone(),
        has_one_queue: *has_one_queue,
        remarks: remarks.clone(),
        places: places.iter().map(place).collect(),
        tags: tags.iter().map(|(port, tag)| (*port, tag.number())).collect(),
    }
}

pub(super) fn group_record(port: &Port, joining: Option<(&Member, Tag)>) -> GroupRecord {
    let GroupKey { namespace, address, v6only, device, uid } = *port.group.key();
    let tag = |member: &Member| port.kept.get(&member.socket).map_or(Tag::NONE, |kept| kept.tag);
    let members = port.group.members().map(|member| (member, tag(member))).chain(joining);
    let member = |(member, tag): (&Member, Tag)| MemberRecord {
        socket: member.socket.0,
        run: member.id.run.0,
        nth: member.id.nth,
        slot: member.place.0,
        tag: tag.number(),
        standing: standing(member.standing),
        others: port
            .kept
            .get(&member.socket)
            .map(|kept| kept.others.keys().map(|run| run.0).collect())
            .unwrap_or_default(),
    };
    GroupRecord {
        namespace,
        address,
        v6only,
        device,
        uid,
        app: port.app.clone(),
        members: members.map(member).collect(),
    }
}

fn standing(standing: Standing) -> StandingRecord {
    match standing {
        Standing::Ready => StandingRecord::Ready,
        Standing::Parked => StandingRecord::Parked,
        Standing::Unhealthy => StandingRecord::Unhealthy,
        Standing::Starting => StandingRecord::Starting,
        Standing::Dead => StandingRecord::Dead,
        Standing::Draining => StandingRecord::Draining,
        Standing::Leaving => StandingRecord::Leaving,
    }
}

pub(super) fn recalled_standing(record: StandingRecord) -> Standing {
    match record {
        StandingRecord::Ready => Standing::Ready,
        StandingRecord::Parked => Standing::Parked,
        StandingRecord::Unhealthy => Standing::Unhealthy,
        StandingRecord::Starting => Standing::Starting,
        StandingRecord::Dead => Standing::Dead,
        StandingRecord::Draining => Standing::Draining,
        StandingRecord::Leaving => Standing::Leaving,
    }
}
