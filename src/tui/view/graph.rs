//! Values over time as filled areas of braille dots: two columns and four steps a cell.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::tui::view::theme::Theme;

/// The dots of a cell from its foot up, left and right (Unicode, Braille Patterns).
const LEFT: [u8; 4] = [0x40, 0x04, 0x02, 0x01];
const RIGHT: [u8; 4] = [0x80, 0x20, 0x10, 0x08];

/// Draws the values, two a cell, from 0 to `top`. What is none leaves a gap; what is 0 stands on the ground.
pub(super) fn draw(buffer: &mut Buffer, at: Rect, values: &[Option<f32>], top: f32, theme: Theme) {
    let steps = u32::from(at.height) * 4;
    let level = |value: Option<f32>| -> u32 {
        let Some(value) = value.filter(|_| top > 0.0) else { return 0 };
        ((value / top * steps as f32).round() as u32).clamp(1, steps)
    };
    for (column, x) in (at.x..at.right()).enumerate() {
        let levels = [column * 2, column * 2 + 1].map(|n| level(values.get(n).copied().flatten()));
        for (row, y) in (at.y..at.bottom()).rev().enumerate() {
            let foot = u32::try_from(row).unwrap_or(0) * 4;
            let mut dots = 0;
            for step in 0..4_u32 {
                let index = step as usize;
                dots |= if levels[0] > foot + step { LEFT[index] } else { 0 };
                dots |= if levels[1] > foot + step { RIGHT[index] } else { 0 };
            }
            if dots == 0 {
                continue;
            }
            let Some(sign) = char::from_u32(0x2800 + u32::from(dots)) else { continue };
            // Of one line the value gives the colour, of several the height.
            let height = if at.height == 1 {
                levels[0].max(levels[1]) as f32 / steps as f32 * 0.6
            } else {
                (foot + 4) as f32 / steps as f32
            };
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.set_char(sign).set_style(theme.graph(height));
            }
        }
    }
}

/// A round number that is not below this one.
pub(super) fn round_up(value: f32) -> f32 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f32.powf(value.log10().floor());
    [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[Option<f32>], width: u16, height: u16) -> Vec<String> {
        let area = Rect { x: 0, y: 0, width, height };
        let mut buffer = Buffer::empty(area);
        draw(&mut buffer, area, values, 100.0, Theme::Mono);
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..height).map(line).collect()
    }

    #[test]
    fn dots_rise_with_the_value_and_gaps_stay_empty() {
        assert_eq!(drawn(&[Some(25.0), Some(50.0), Some(100.0), None, Some(0.0), Some(0.1)], 3, 1), ["⣠⡇⣀"]);
        assert_eq!(drawn(&[Some(100.0), Some(50.0)], 1, 2), ["⡇", "⣿"]);
    }

    #[test]
    fn the_scale_is_round() {
        assert_eq!([0.0, 7.0, 13.0, 99.0, 101.0].map(round_up), [1.0, 8.0, 15.0, 100.0, 150.0]);
    }
}
