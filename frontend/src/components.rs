//! The parts of the pages, one a file. Components render what selectors yield; figures are
//! computed in the stores, connections live in the hooks, drawing on the stage. What needs
//! neither state nor hooks is a plain function, since each component costs some kilobytes.

mod activity;
mod alert_feed;
mod alert_item;
mod alert_watch;
mod alone_notice;
mod chart_time;
mod charts;
mod chat_button;
mod chat_drawer;
mod chat_line;
mod cluster_panel;
mod commands;
mod connected;
mod connection_banner;
mod connection_status;
mod expression_field;
mod fresh_series;
mod history_menu;
mod item_card;
mod line_table;
mod live_chart;
mod login_card;
mod metric_card;
mod metric_cards;
mod near_names;
mod notices;
mod operator_figures;
mod overlays;
mod page_footer;
mod page_header;
mod past;
mod problem_panel;
mod push_hint;
mod range_bar;
mod segments;
mod series_chart;
mod series_row;
mod time_bar;
mod toolbar;

pub(crate) use activity::activity;
pub use alert_feed::AlertFeed;
pub use alert_watch::AlertWatch;
pub(crate) use alert_watch::watch_switches;
pub(crate) use alone_notice::AloneNotice;
pub use charts::Charts;
pub use chat_drawer::ChatDrawer;
pub(crate) use cluster_panel::ClusterPanel;
pub(crate) use commands::Commands;
pub use connected::Connected;
pub use expression_field::ExpressionField;
pub use fresh_series::FreshSeries;
pub(crate) use fresh_series::no_series_yet;
pub(crate) use history_menu::use_history;
pub(crate) use item_card::item_card;
pub(crate) use line_table::{LineTable, line_table, window_table};
pub use live_chart::LiveChart;
pub use login_card::LoginCard;
pub use metric_cards::MetricCards;
pub(crate) use near_names::near_names;
pub use notices::Notices;
pub(crate) use notices::refusal;
pub(crate) use operator_figures::operator_figures;
pub use overlays::Overlays;
pub use page_footer::PageFooter;
pub use page_header::{PageHeader, show_current};
pub(crate) use problem_panel::problem_panel;
pub(crate) use push_hint::use_push_hint;
pub(crate) use segments::segments;
pub use series_chart::{SeriesChart, Shown};
pub(crate) use series_row::{series_row, spark_path};
pub(crate) use time_bar::use_time_bar;

use yew::prelude::*;

use crate::{
    markup::html,
    net::config::encode_query,
    platform,
    stores::{hosts::Trouble, view::Page},
};

/// How something stands, in a word and a colour.
pub(crate) fn state(trouble: Trouble, word: String) -> Html {
    let class = match trouble {
        Trouble::None => "",
        Trouble::Warning => "host__state--warning",
        Trouble::Critical => "host__state--critical",
    };
    html! { <span class={classes!("host__state", class)}>{ word }</span> }
}

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
