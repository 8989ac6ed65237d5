//! A view for the tests of this layer.

use crate::proto::{
    AppView, DaemonView, ExitView, MetricView, NodeView, RestartsView, SaidView, SlotView, State, View,
};
use crate::spec::{AppSpec, ExecMode, ExitStatus};

/// The moment at which the samples are looked at.
pub(crate) const NOW: u64 = 1_780_000_000_000;

/// One instance that runs since five hours.
pub(crate) fn slot(id: u32, instance: u16, state: State) -> SlotView {
    let runs = matches!(state, State::Online | State::Unhealthy | State::Launching | State::Draining | State::Stopping);
    SlotView {
        id,
        instance,
        state,
        run: u64::from(id) + 1,
        pid: runs.then_some(4000 + id),
        started: runs.then_some(NOW - 5 * 3_600_000),
        generation: 1,
        second: None,
        created: NOW - 6 * 3_600_000,
        restarts: 3 * id,
        restarts_by: RestartsView::default(),
        unstable: 0,
        next_attempt: None,
        reason: None,
        cpu: if runs { 1.25 } else { 0.0 },
        memory: if runs { 53_582_233 } else { 0 },
        out_file: Some(format!("/h/logs/{id}-out.log").into()),
        error_file: Some(format!("/h/logs/{id}-error.log").into()),
        combined_file: None,
        log_problem: None,
        pid_file: None,
        ports: vec![],
        remarks: Vec::new(),
        said: SaidView::default(),
        draining: None,
        health: None,
        last_exit: None,
        history: vec![],
    }
}

/// One app in the default namespace.
pub(crate) fn app(name: &str, slots: Vec<SlotView>) -> AppView {
    AppView {
        name: name.into(),
        namespace: "default".into(),
        version: None,
        user: "deploy".into(),
        mode: ExecMode::Fork,
        spec: None,
        inherited: None,
        slots,
    }
}

/// `api` with two instances, one of them errored; `web`, waiting; `0` in a namespace of its own, stopped.
pub(crate) fn view() -> View {
    let errored = SlotView {
        reason: Some("exit code 1, 16 quick exits".into()),
        next_attempt: Some(NOW + 42_000),
        ..slot(1, 1, State::Errored)
    };
    let waiting = SlotView {
        reason: Some("SIGSEGV (core dumped)".into()),
        next_attempt: Some(NOW + 1_500),
        ..slot(2, 0, State::Waiting)
    };
    let mut api = app("api", vec![slot(0, 0, State::Online), errored]);
    api.version = Some("1.4.2".into());
    let mut zero = app("0", vec![slot(3, 0, State::Stopped)]);
    zero.namespace = "batch".into();
    View {
        generation: 7,
        daemon: DaemonView {
            version: "0.1.0".into(),
            pid: 77,
            guardian: 76,
            started: NOW - 86_400_000,
            parked: 0,
            notices: Vec::new(),
            metrics: None,
        },
        apps: vec![api, app("web", vec![waiting]), zero],
    }
}

/// The same with specs and exit histories.
pub(crate) fn full_view() -> View {
    let mut view = view();
    for app in &mut view.apps {
        let mut spec = AppSpec { namespace: app.namespace.clone(), ..AppSpec::sample(&app.name) };
        spec.instances = u16::try_from(app.slots.len()).unwrap();
        spec.env.insert("PORT".into(), "3000".into());
        spec.env.insert("API_TOKEN".into(), "***".into());
        app.spec = Some(spec);
        app.inherited = Some([("PATH".to_owned(), "/usr/bin".to_owned())].into());
    }
    view.apps[0].slots[0].said = SaidView {
        status: Some("serving 3 tenants".into()),
        node: Some(NodeView {
            version: "v20.1.0".into(),
            lag: 1.25,
            busy: 0.0625,
            heap_used: 6_922_240,
            heap_total: 11_534_336,
            heap_limit: 4_345_298_944,
        }),
        metrics: vec![MetricView {
            name: "Requests".into(),
            value: 12.5.into(),
            unit: Some("req/min".into()),
            kind: Some("http".into()),
        }],
    };
    view.apps[0].slots[1].history = vec![
        ExitView {
            run: 9,
            pid: 4009,
            time: NOW - 60_000,
            uptime: 340,
            status: Some(ExitStatus::Code(1)),
            reason: "exit code 1".into(),
            by: None,
            stderr: vec!["Error: connect ECONNREFUSED 127.0.0.1:5432".into(), "    at db.js:12".into()],
        },
        ExitView {
            run: 8,
            pid: 4008,
            time: NOW - 3_660_000,
            uptime: 7_200_000,
            status: None,
            reason: "chdir /srv/api: No such file or directory".into(),
            by: None,
            stderr: vec![],
        },
    ];
    view
}
