//! What is seen, one component a file. Components render what selectors yield; figures are
//! computed in the stores, connections live in the hooks, drawing on the stage.

mod alert_feed;
mod alert_item;
mod charts;
mod connected;
mod connection_banner;
mod connection_status;
mod critical_badge;
mod live_chart;
mod metric_card;
mod metric_cards;
mod page_footer;
mod page_header;
mod problem_panel;
mod range_bar;
mod range_switch;
mod recovery_badge;
mod segments;
mod theme_switch;

pub use alert_feed::AlertFeed;
pub use alert_item::AlertItem;
pub use charts::Charts;
pub use connected::Connected;
pub use connection_banner::ConnectionBanner;
pub use connection_status::ConnectionStatus;
pub use critical_badge::CriticalBadge;
pub use live_chart::LiveChart;
pub use metric_card::MetricCard;
pub use metric_cards::MetricCards;
pub use page_footer::PageFooter;
pub use page_header::PageHeader;
pub use problem_panel::ProblemPanel;
pub use range_bar::RangeBar;
pub use range_switch::RangeSwitch;
pub use recovery_badge::RecoveryBadge;
pub use segments::Segments;
pub use theme_switch::ThemeSwitch;
