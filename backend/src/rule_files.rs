//! `pulseboard check-rules` and `test-rules`: promtool's answers about files, without a server.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use pulseboard::settings::RulesCommand;
use pulseboard_rules::{
    check::{Report, check},
    unit_test::{Files, test},
};

/// A larger file is something else.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Does what was asked for; 0 where all is well, else 1.
pub(crate) fn start(command: &RulesCommand) -> ExitCode {
    let (files, report): (_, fn(&Path) -> Report) = match command {
        RulesCommand::Check(files) => (files, checked),
        RulesCommand::Test(files) => (files, tested),
    };
    let mut is_well = true;
    for file in files {
        let report = report(file);
        is_well &= report.ok;
        drop(io::stdout().write_all(report.out.as_bytes()));
        drop(io::stderr().write_all(report.err.as_bytes()));
    }
    match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn checked(file: &Path) -> Report {
    let name = file.display().to_string();
    match read(file) {
        Ok(text) => check(&name, &text),
        Err(why) => Report {
            out: format!("Checking {name}\n"),
            err: format!("  FAILED:\n{why}\n"),
            ok: false,
        },
    }
}

fn tested(file: &Path) -> Report {
    test(&file.display().to_string(), &mut OnDisk)
}

/// The files of this machine.
struct OnDisk;

impl Files for OnDisk {
    fn read(&mut self, path: &str) -> Result<String, String> {
        read(Path::new(path))
    }

    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        let found = glob::glob(pattern).map_err(|error| error.to_string())?;
        let found = found.filter_map(Result::ok);
        Ok(found.map(|path| path.display().to_string()).collect())
    }
}

fn read(path: &Path) -> Result<String, String> {
    let name = path.display();
    let told = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("open {name}: no such file or directory"),
        io::ErrorKind::PermissionDenied => format!("open {name}: permission denied"),
        _ => format!("read {name}: {error}"),
    };
    let length = fs::metadata(path).map_err(|error| told(&error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!(
            "read {name}: it has more than {FILE_BYTES_MAX} bytes"
        ));
    }
    fs::read_to_string(path).map_err(|error| told(&error))
}
