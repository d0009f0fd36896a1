//! What is seen, one component a file. Components render what selectors yield; figures are
//! computed in the stores, connections live in the hooks, drawing on the stage. What needs
//! neither state nor hooks is a plain function, since each component costs some kilobytes.

mod alert_feed;
mod alert_item;
mod charts;
mod chat;
mod connected;
mod connection_banner;
mod connection_status;
mod live_chart;
mod login_card;
mod metric_card;
mod metric_cards;
mod operator_view;
mod page_footer;
mod page_header;
mod problem_panel;
mod range_bar;
mod segments;
mod toolbar;

pub use alert_feed::AlertFeed;
pub use charts::Charts;
pub use chat::ChatDrawer;
pub use connected::Connected;
pub use live_chart::LiveChart;
pub use login_card::LoginCard;
pub use metric_cards::MetricCards;
pub use operator_view::OperatorView;
pub use page_footer::PageFooter;
pub use page_header::PageHeader;
pub(crate) use problem_panel::problem_panel;
