//! The colours of the canvas: the same tokens that the stylesheet uses, read when they change.

use gloo::utils::{document_element, window};

use super::scale::within;
use crate::stores::{ring::COLUMNS, track::LINES_MAX};

/// Colours as CSS texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Theme {
    /// The colour of a built-in metric's line, by column.
    pub lines: [String; COLUMNS],
    /// The colours of lines that are compared, told apart also by those who see fewer colours.
    pub compared: [String; LINES_MAX],
    /// Decoration: grid lines, hatching.
    pub grid: String,
    /// Figures and times of the axes.
    pub axis: String,
    /// Behind the newest point.
    pub panel: String,
    /// A threshold whose crossing is critical.
    pub critical: String,
    /// Any other threshold.
    pub warning: String,
    /// The page's font, for canvas text.
    pub font: String,
    /// How much larger than usual the page's text is; lengths on the canvas grow with it.
    pub scale: f64,
}

impl Theme {
    /// As the page has it now.
    #[must_use]
    pub fn read() -> Self {
        let style = window()
            .get_computed_style(&document_element())
            .ok()
            .flatten();
        let token = |name: &str| {
            style
                .as_ref()
                .and_then(|style| style.get_property_value(name).ok())
                .map(|value| value.trim().to_owned())
                .unwrap_or_default()
        };
        // The root's font size: the reader may have chosen another one, and so may a large screen.
        let scale = style
            .as_ref()
            .and_then(|style| style.get_property_value("font-size").ok())
            .map(|size| js_sys::parse_float(&size) / 16.0)
            .filter(|scale| scale.is_finite())
            .map_or(1.0, |scale| within(scale, 0.5, 4.0));
        Self {
            lines: [
                token("--chart-1"),
                token("--chart-2"),
                token("--chart-3"),
                token("--chart-4"),
            ],
            compared: [
                token("--line-1"),
                token("--line-2"),
                token("--line-3"),
                token("--line-4"),
                token("--line-5"),
                token("--line-6"),
                token("--line-7"),
                token("--line-8"),
            ],
            grid: token("--line"),
            axis: token("--faint"),
            panel: token("--panel"),
            critical: token("--crit"),
            warning: token("--warn"),
            font: format!(
                "{}px {}",
                crate::format::fixed(11.0 * scale, 2),
                token("--font")
            ),
            scale,
        }
    }
}

/// The same colour, fully transparent, where `color` is written `#RRGGBB`; a gradient to
/// `transparent` would go through grey.
#[must_use]
pub fn faded(color: &str, alpha: &str) -> Option<String> {
    (color.len() == 7 && color.starts_with('#')).then(|| format!("{color}{alpha}"))
}
