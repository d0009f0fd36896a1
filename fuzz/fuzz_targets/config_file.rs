//! The configuration file: any text is settings or refused in one line that names the setting.

#![no_main]

use std::{ffi::OsString, fs};

use libfuzzer_sys::fuzz_target;
use pulseboard::settings;

fuzz_target!(|text: &[u8]| {
    let path = std::env::temp_dir().join(format!("pulseboard-fuzz-{}.toml", std::process::id()));
    fs::write(&path, text).expect("a place for the file");
    let args = ["pulseboard", "--config"]
        .into_iter()
        .map(OsString::from)
        .chain([path.into_os_string()]);
    if let Err(error) = settings::load(args, &|_| None) {
        let error = error.to_string();
        assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
    }
});
