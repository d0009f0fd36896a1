//! The texts of one notification.

use pulseboard_template::{
    Limits,
    alertmanager::{Alert, Data, Rendering, Templates},
};

use crate::{
    notification::{AlertStatus, Notification, NotifiedAlert},
    text::escape_html,
};

/// What renders the templates of a receiver's configuration for one notification.
pub trait Texts {
    /// As `text/template`.
    ///
    /// # Errors
    /// What is wrong with the template, in words with its place.
    fn text(&self, template: &str) -> Result<String, String>;

    /// As `html/template`: what is put in is escaped.
    ///
    /// # Errors
    /// As [`Texts::text`].
    fn html(&self, template: &str) -> Result<String, String>;
}

impl Texts for Rendering<'_> {
    fn text(&self, template: &str) -> Result<String, String> {
        Self::text(self, template).map_err(|error| error.to_string())
    }

    fn html(&self, template: &str) -> Result<String, String> {
        Self::html(self, template).map_err(|error| error.to_string())
    }
}

/// The texts of a notification with these templates.
#[must_use]
pub fn texts<'a>(
    templates: &'a Templates,
    notification: &Notification,
    now_ms: i64,
) -> Rendering<'a> {
    templates.with(&data(notification), now_ms, Limits::default())
}

fn data(notification: &Notification) -> Data {
    let alerts: Vec<Alert> = notification.alerts.iter().map(alert).collect();
    let mut data = Data::new(
        &notification.receiver,
        notification.group_labels.clone(),
        alerts,
        &notification.external_url,
    );
    data.group_key.clone_from(&notification.group_key);
    data.truncated_alerts = notification.truncated;
    data
}

fn alert(alert: &NotifiedAlert) -> Alert {
    let firing = alert.status == AlertStatus::Firing;
    Alert {
        firing,
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        starts_at_ms: alert.starts_at_ms,
        // As Alertmanager: when a firing one is taken to be over is nobody's business.
        ends_at_ms: alert.ends_at_ms.filter(|_| !firing),
        generator_url: alert.generator_url.clone(),
        fingerprint: alert.fingerprint.clone(),
    }
}

/// A rendered text with what is said beside the alerts on a line in front.
#[must_use]
pub fn with_note(notification: &Notification, text: String) -> String {
    match &notification.note {
        Some(note) if text.is_empty() => note.clone(),
        Some(note) => format!("{note}\n{text}"),
        None => text,
    }
}

/// As [`with_note`] where the text is HTML.
#[must_use]
pub fn with_note_html(notification: &Notification, html: String) -> String {
    match &notification.note {
        Some(note) => format!("{}\n{html}", escape_html(note)),
        None => html,
    }
}
