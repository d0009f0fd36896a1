//! What is seen, one component a file. Components render what selectors yield; figures are
//! computed in the stores, connections live in the hooks, drawing on the stage. What needs
//! neither state nor hooks is a plain function, since each component costs some kilobytes.

mod aggregate_view;
mod alert_feed;
mod alert_item;
mod charts;
mod chat;
mod connected;
mod connection_banner;
mod connection_status;
mod explore;
mod fresh_series;
mod line_table;
mod live_chart;
mod login_card;
mod metric_card;
mod metric_cards;
mod notices;
mod open_series;
mod operator_view;
mod page_footer;
mod page_header;
mod past;
mod problem_panel;
mod push_hint;
mod range_bar;
mod segments;
mod series_chart;
mod toolbar;

pub use aggregate_view::AggregateView;
pub use alert_feed::AlertFeed;
pub use charts::Charts;
pub use chat::ChatDrawer;
pub use connected::Connected;
pub use explore::Explore;
pub use fresh_series::FreshSeries;
pub(crate) use fresh_series::no_series_yet;
pub use live_chart::LiveChart;
pub use login_card::LoginCard;
pub use metric_cards::MetricCards;
pub use notices::Notices;
pub use open_series::OpenSeries;
pub use operator_view::OperatorView;
pub use page_footer::PageFooter;
pub use page_header::PageHeader;
pub(crate) use problem_panel::problem_panel;
pub use series_chart::{SeriesChart, Shown};

use yew::prelude::*;

use crate::{markup::html, net::config::encode_query, platform, stores::view::Page};

/// A series' name and labels, leading to its chart.
fn series_link(key: &str, name: &str, labels: &str) -> Html {
    let hash = format!("{}?match={}", Page::Explore.hash(), encode_query(key));
    html! {
        <a class="series-name" href={platform::with_hash(&hash)}>
            { name.to_owned() }
            <span class="series-name__labels">{ labels.to_owned() }</span>
        </a>
    }
}
