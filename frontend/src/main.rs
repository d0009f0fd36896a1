//! Starts the page in a browser.

fn main() {
    pulseboard_frontend::start();
}
