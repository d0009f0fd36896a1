//! `ALERTMANAGER_CONFIG`: the file with its templates, read and checked.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use pulseboard_notify::config::{Config, FILE_BYTES_MAX};
use pulseboard_template::alertmanager::Templates;

/// Files of templates.
const TEMPLATE_FILES_MAX: usize = 1_000;

/// Bytes of all of them.
const TEMPLATE_BYTES_MAX: usize = 16 << 20;

/// A file that is good.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Who is told of what.
    pub config: Arc<Config>,
    /// What texts are made of.
    pub templates: Arc<Templates>,
}

/// Reads a file without using it. Blocks.
///
/// # Errors
/// One line that names the setting, the file, the place in it and what is wrong.
pub fn check(file: Option<&Path>) -> Result<Option<Loaded>, String> {
    file.map(load)
        .transpose()
        .map_err(|error| format!("ALERTMANAGER_CONFIG={error}"))
}

fn load(file: &Path) -> Result<Loaded, String> {
    let of_file = |what: String| format!("{}: {what}", file.display());
    let text = read(file, FILE_BYTES_MAX).map_err(of_file)?;
    let config = Config::parse(&text, file).map_err(|error| error.to_string())?;
    let templates = templates(&config).map_err(of_file)?;
    let receivers = config.receivers.iter();
    let mut wrong = receivers.flat_map(|receiver| receiver.check_texts(&templates));
    if let Some(wrong) = wrong.next() {
        return Err(of_file(wrong));
    }
    Ok(Loaded {
        config: Arc::new(config),
        templates: Arc::new(templates),
    })
}

fn templates(config: &Config) -> Result<Templates, String> {
    let mut templates = Templates::new();
    let (mut files, mut bytes) = (0, 0);
    for pattern in &config.templates {
        let whole = config.folder.join(pattern);
        let whole = whole.to_string_lossy();
        let found = glob::glob(&whole).map_err(|error| format!("templates: {pattern}: {error}"))?;
        for path in found {
            let path: PathBuf = path.map_err(|error| format!("templates: {error}"))?;
            let of_template = |what: String| format!("templates: {}: {what}", path.display());
            let text = read(&path, TEMPLATE_BYTES_MAX - bytes).map_err(of_template)?;
            files += 1;
            bytes += text.len();
            if files > TEMPLATE_FILES_MAX {
                return Err(format!("templates: more than {TEMPLATE_FILES_MAX} files"));
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            templates
                .add(&name, &text)
                .map_err(|error| of_template(error.to_string()))?;
        }
    }
    Ok(templates)
}

/// A file's text, of so many bytes at most.
fn read(path: &Path, bytes_max: usize) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(bytes_max as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    match text.len() > bytes_max {
        true => Err(format!("larger than {bytes_max} bytes")),
        false => Ok(text),
    }
}
