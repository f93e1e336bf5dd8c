//! Plots as inline SVG: bars over steps, and bars that compare.

use maud::{Markup, html};

/// The size of a plot over steps, in its own units.
const WIDTH: usize = 600;
const HEIGHT: usize = 56;

/// Bars over steps, the oldest first: each a value and what it is called.
pub(super) fn over_steps(name: &str, largest: &str, values: &[(u64, String)]) -> Markup {
    let max = values.iter().map(|(value, _)| *value).max().unwrap_or(0);
    let count = values.len().max(1);
    // A few bars are not made wide: a plot of three steps does not fill the page.
    let slots = count.max(24);
    let place = |position: usize| position * WIDTH * 10 / slots;
    html! {
        figure.plot data-plot=(name) {
            figcaption { (name) " " span.faint { "largest " (largest) } }
            svg viewBox={ "0 0 " (WIDTH * 10) " " (HEIGHT * 10) } preserveAspectRatio="none"
                role="img" aria-label={ (name) " over " (values.len()) " steps, largest " (largest) } {
                @for (position, (value, title)) in values.iter().enumerate() {
                    @let height = scaled(*value, max, HEIGHT * 10);
                    @let width = (place(position + 1) - place(position)).saturating_sub(20).max(10);
                    rect.bar x=(place(position)) y=(HEIGHT * 10 - height) width=(width) height=(height) {
                        title { (title) }
                    }
                }
            }
        }
    }
}

/// A bar beside a number: how much of the largest it is.
pub(super) fn share(value: u64, largest: u64) -> Markup {
    let width = scaled(value, largest, 100);
    html! {
        svg.share viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.bar x="0" y="0" width=(width) height="8" {}
        }
    }
}

/// A value of a range as so many units; what is not nothing is seen.
fn scaled(value: u64, largest: u64, units: usize) -> usize {
    if value == 0 || largest == 0 {
        return 0;
    }
    let scaled = u128::from(value) * units as u128 / u128::from(largest);
    usize::try_from(scaled)
        .unwrap_or(units)
        .clamp(units / 50 + 1, units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_never_beyond_the_plot() {
        assert_eq!(scaled(0, 10, 100), 0);
        assert_eq!(scaled(5, 10, 100), 50);
        assert_eq!(scaled(u64::MAX, u64::MAX, 100), 100);
        assert_eq!(scaled(1, u64::MAX, 100), 3);
        assert_eq!(scaled(5, 0, 100), 0);
    }
}
