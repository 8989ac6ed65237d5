//! `monit`: hands the terminal to the dashboard.

use std::io::IsTerminal;

use crate::cli::args::MonitArgs;
use crate::cli::session::Session;
use crate::cli::style::Style;
use crate::error::{ExitCode, Failure};
use crate::tui::{Access, NoTheme, Opening, Theme, open};

/// Runs `rsx monit`, until its user leaves it.
pub(super) fn run(session: &mut Session, args: &MonitArgs) -> Result<ExitCode, Failure> {
    if session.json {
        return Err(Failure::new(ExitCode::Usage, "the dashboard is a screen and has no JSON")
            .hint("`rsx ls --json` and `rsx events --json` tell what it shows"));
    }
    if !session.out.is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::new(ExitCode::Usage, "the dashboard needs a terminal")
            .hint("`rsx ls` and `rsx logs` write to pipes and files"));
    }
    let wanted = args.theme.as_deref().map(str::parse).transpose();
    let wanted: Option<Theme> =
        wanted.map_err(|error: NoTheme| Failure::new(ExitCode::Usage, "no such theme").caused_by(&error))?;
    let theme = wanted.unwrap_or(match session.out.style() {
        Style::Plain => Theme::Mono,
        Style::Colour => Theme::Terminal,
    });
    open(&Opening {
        home: session.home()?,
        access: if args.read_only { Access::ReadOnly } else { Access::Full },
        theme,
        has_mouse: !args.no_mouse,
        filter: args.filter.join(" "),
    })?;
    Ok(ExitCode::Done)
}
