//! Where what stands, for any size of the screen: the view draws there, and clicks are found by the same rule.

use ratatui::layout::Rect;

use crate::tui::keymap::{self, Act, Pane, Tab};
use crate::tui::model::{Access, Model};

/// From this size on panes have frames, and the list has graphs beside it.
const WIDE: u16 = 110;
const TALL: u16 = 24;

/// Smaller than this, nothing can be shown.
pub(crate) const SMALLEST: (u16, u16) = (40, 10);

/// The parts of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) header: Rect,
    pub(crate) list: Option<Rect>,
    pub(crate) detail: Option<Rect>,
    pub(crate) logs: Option<Rect>,
    /// Jobs and notices.
    pub(crate) status: Rect,
    pub(crate) footer: Rect,
    /// Whether panes have frames all round, or a line above.
    pub(crate) is_framed: bool,
}

/// The parts of a screen of this size.
pub(crate) fn places(model: &Model) -> Places {
    let (width, height) = model.size;
    let row = |y: u16, height: u16| Rect { x: 0, y, width, height };
    let header = row(0, 1.min(height));
    let footer = row(height.saturating_sub(1), 1.min(height));
    // A line of its own for what happens, where there is room for it; else it takes the footer's for its time.
    let has_status = height >= TALL;
    let status = if has_status { row(height.saturating_sub(2), 1) } else { footer };
    let top = header.height;
    let bottom = if has_status { status.y } else { footer.y };
    let body = bottom.saturating_sub(top);
    let is_framed = width >= WIDE && height >= TALL;
    let mut places = Places { header, list: None, detail: None, logs: None, status, footer, is_framed };
    if model.is_expanded {
        let all = Some(row(top, body));
        match model.focus {
            Pane::List => places.list = all,
            Pane::Detail => places.detail = all,
            Pane::Logs => places.logs = all,
        }
        return places;
    }
    let rows = u16::try_from(model.list.rows.len()).unwrap_or(u16::MAX);
    if is_framed {
        // As high as the list needs, within limits; never so low that the graphs cannot be read.
        let upper = (rows.saturating_add(3)).clamp(14, (body * 11 / 20).max(14)).max(body * 2 / 5);
        let detail = (width * 2 / 5).clamp(44, 100);
        let left = width - detail;
        places.list = Some(Rect { x: 0, y: top, width: left, height: upper });
        places.detail = Some(Rect { x: left, y: top, width: detail, height: upper });
        places.logs = Some(row(top + upper, body - upper));
        return places;
    }
    // One above the other: a line above each, a list with its titles, graphs of a line each.
    let detail = if body >= 26 {
        7
    } else if body >= 20 {
        5
    } else {
        4
    }
    .min(body / 4);
    let list = (rows.saturating_add(2)).clamp(4, ((body - detail) / 2).max(4));
    places.list = Some(row(top, list));
    places.detail = Some(row(top + list, detail));
    places.logs = Some(row(top + list + detail, body.saturating_sub(list + detail)));
    places
}

impl Places {
    /// The place of a pane.
    pub(crate) fn of(&self, pane: Pane) -> Option<Rect> {
        match pane {
            Pane::List => self.list,
            Pane::Detail => self.detail,
            Pane::Logs => self.logs,
        }
    }

    /// What a pane has for itself, without its frame.
    pub(crate) fn inner(&self, pane: Pane) -> Rect {
        let Some(outer) = self.of(pane) else { return Rect::default() };
        let (side, end) = if self.is_framed { (1, 1) } else { (0, 0) };
        Rect {
            x: outer.x + side,
            y: outer.y + 1,
            width: outer.width.saturating_sub(2 * side),
            height: outer.height.saturating_sub(1 + end),
        }
    }

    /// How many lines of its matter a pane shows; the list has its titles above.
    pub(crate) fn lines(&self, pane: Pane) -> u16 {
        let inner = self.inner(pane).height;
        match pane {
            Pane::List => inner.saturating_sub(1),
            Pane::Detail | Pane::Logs => inner,
        }
    }

    /// The pane at this point.
    pub(crate) fn pane_at(&self, x: u16, y: u16) -> Option<Pane> {
        let contains = |pane: &Pane| self.of(*pane).is_some_and(|rect| rect.contains((x, y).into()));
        Pane::ALL.into_iter().find(contains)
    }

    /// Where the names of the tabs stand in the line above the detail pane.
    pub(crate) fn tabs(&self) -> Vec<(Tab, Rect)> {
        let Some(outer) = self.detail else { return Vec::new() };
        let mut x = outer.x + 2;
        let mut tabs = Vec::new();
        for tab in Tab::ALL {
            let width = u16::try_from(tab.word().len() + 2).unwrap_or(10);
            if x + width + 1 < outer.right() {
                tabs.push((tab, Rect { x, y: outer.y, width, height: 1 }));
            }
            x += width;
        }
        tabs
    }

    /// Where the keys of the footer stand.
    pub(crate) fn footer_keys(&self, access: Access) -> Vec<(Act, String, Rect)> {
        let mut x = self.footer.x;
        let mut keys = Vec::new();
        for (binding, text) in keymap::footer(self.footer.width, access == Access::ReadOnly) {
            let width = u16::try_from(text.chars().count()).unwrap_or(20);
            keys.push((binding.act, text, Rect { x, width, ..self.footer }));
            x += width + 2;
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::tests::model;

    #[test]
    fn panes_fill_any_screen_and_never_overlap() {
        for width in SMALLEST.0..=250 {
            for height in [10, 11, 15, 19, 20, 23, 24, 25, 40, 60, 80] {
                for is_expanded in [false, true] {
                    let mut model = model((width, height));
                    model.is_expanded = is_expanded;
                    let places = places(&model);
                    let screen = Rect { x: 0, y: 0, width, height };
                    let rects: Vec<Rect> = [places.list, places.detail, places.logs].into_iter().flatten().collect();
                    let area: u32 = rects.iter().map(|rect| rect.area()).sum();
                    let lines = u32::from(height) - if height >= TALL { 3 } else { 2 };
                    assert_eq!(area, u32::from(width) * lines, "{width}x{height} {places:?}");
                    for (n, rect) in rects.iter().enumerate() {
                        assert_eq!(rect.intersection(screen), *rect, "{width}x{height} {places:?}");
                        assert!(rects[n + 1..].iter().all(|other| rect.intersection(*other).area() == 0));
                    }
                }
            }
        }
    }
}
