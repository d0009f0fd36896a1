//! Machines, as their series under node_exporter's names tell of them: what is asked for the list
//! and for one of them, how they are joined by the label `instance`, and who is in trouble.

use crate::net::{json::Json, prom};

/// Questions of the list, each with the column that it fills.
pub const QUESTIONS: [(Column, &str); 6] = [
    (
        Column::Cpu,
        "100*(1-avg by(instance)(rate(node_cpu_seconds_total{mode=\"idle\"}[1m])))",
    ),
    (
        Column::Memory,
        "100*(1-max by(instance)(node_memory_MemAvailable_bytes)/max by(instance)(node_memory_MemTotal_bytes))",
    ),
    // Without file systems that are no disks.
    (
        Column::Disk,
        "100*max by(instance)(1-node_filesystem_avail_bytes{fstype!~\"tmpfs|ramfs|overlay|squashfs|devtmpfs|iso9660|nsfs\"}/node_filesystem_size_bytes)",
    ),
    (
        Column::Network,
        "sum by(instance)(rate(node_network_receive_bytes_total{device!=\"lo\"}[1m]))+sum by(instance)(rate(node_network_transmit_bytes_total{device!=\"lo\"}[1m]))",
    ),
    (
        Column::Cores,
        "count by(instance)(node_cpu_seconds_total{mode=\"idle\"})",
    ),
    (
        Column::Temperature,
        "max by(instance)(node_hwmon_temp_celsius)",
    ),
];

/// The question whose series there is one of for each host, with the labels that hosts are grouped
/// by; also of those that have been silent for as long as a day.
pub const LISTED: &str = "node_load1";

/// For how long a host that is silent is listed, seconds.
pub const LISTED_S: u32 = 86_400;

/// The age of each host's newest sample, seconds.
pub const AGE: &str = "time() - max by (instance) (timestamp(node_load1))";

/// A figure of a host, in the order of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Used, %.
    Cpu,
    /// Used, %.
    Memory,
    /// Used of the fullest file system, %.
    Disk,
    /// Bytes a second, both ways.
    Network,
    /// How many there are.
    Cores,
    /// The hottest sensor, °C.
    Temperature,
}

/// What is known of a host; a figure that nobody sends is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// The value of its label `instance`.
    pub name: String,
    /// Its other labels.
    pub labels: Vec<(String, String)>,
    /// Used, %.
    pub cpu: f64,
    /// Used, %.
    pub memory: f64,
    /// Used of the fullest file system, %.
    pub disk: f64,
    /// Bytes a second, both ways.
    pub network: f64,
    /// Processes that run or wait, of the last minute.
    pub load: f64,
    /// How many there are.
    pub cores: f64,
    /// The hottest sensor, °C.
    pub temperature: f64,
    /// Of its newest sample, seconds.
    pub age_s: f64,
    /// Processors used over the last minutes, %.
    pub spark: Vec<f64>,
}

/// How bad a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// It is well.
    None,
    /// It is to be looked at.
    Warning,
    /// It is to be looked at now.
    Critical,
}

/// Silent for longer than this it is late, and lost, in seconds: a scrape each minute is not late.
const LATE_S: f64 = 150.0;
const LOST_S: f64 = 300.0;

/// The trouble of a figure that has these limits.
#[must_use]
pub fn trouble(figure: f64, (warning, critical): (f64, f64)) -> Trouble {
    if figure >= critical {
        Trouble::Critical
    } else if figure >= warning {
        Trouble::Warning
    } else {
        Trouble::None
    }
}

impl Host {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            labels: Vec::new(),
            cpu: f64::NAN,
            memory: f64::NAN,
            disk: f64::NAN,
            network: f64::NAN,
            load: f64::NAN,
            cores: f64::NAN,
            temperature: f64::NAN,
            age_s: f64::NAN,
            spark: Vec::new(),
        }
    }

    /// The value of one of its labels.
    #[must_use]
    pub fn label(&self, label: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(name, _)| name == label);
        found.map(|(_, value)| value.as_str())
    }

    /// Nothing has come of it for so long that its figures say nothing of now.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.age_s >= LOST_S
    }

    /// Its processors.
    #[must_use]
    pub fn cpu_trouble(&self) -> Trouble {
        trouble(self.cpu, (80.0, 95.0))
    }

    /// Its memory.
    #[must_use]
    pub fn memory_trouble(&self) -> Trouble {
        trouble(self.memory, (85.0, 95.0))
    }

    /// Its fullest file system.
    #[must_use]
    pub fn disk_trouble(&self) -> Trouble {
        trouble(self.disk, (85.0, 95.0))
    }

    /// The worst of all.
    #[must_use]
    pub fn worst(&self) -> Trouble {
        [
            trouble(self.age_s, (LATE_S, LOST_S)),
            self.cpu_trouble(),
            self.memory_trouble(),
            self.disk_trouble(),
            trouble(self.load / self.cores, (2.0, 6.0)),
            trouble(self.temperature, (85.0, 95.0)),
        ]
        .into_iter()
        .max()
        .unwrap_or(Trouble::None)
    }

    /// Where two are as badly off: the one with the fuller figure first.
    fn fullest(&self) -> f64 {
        [self.cpu, self.memory, self.disk]
            .into_iter()
            .filter(|figure| figure.is_finite())
            .fold(0.0, f64::max)
    }
}

/// Joins the answers of [`LISTED`], [`AGE`], of the columns and of the sparklines by `instance`.
#[must_use]
pub fn join(listed: &Json, age: &Json, columns: &[(Column, &Json)], sparks: &Json) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    let rows = |json: &Json| -> Vec<(String, Json, f64)> {
        let result = json.get("data").get("result").list().iter();
        let row = |series: &Json| {
            let labels = series.get("metric");
            let (_, value) = prom::sample(series.get("value"))?;
            Some((labels.text_of("instance").to_owned(), labels.clone(), value))
        };
        result.filter_map(row).collect()
    };
    for (name, labels, load) in rows(listed) {
        let place = hosts.partition_point(|host| host.name < name);
        if hosts.get(place).is_none_or(|host| host.name != name) {
            hosts.insert(place, Host::named(&name));
        }
        let host = &mut hosts[place];
        host.load = load;
        for (label, value) in labels.entries() {
            if label != "__name__" && label != "instance" {
                let value = value.text().unwrap_or_default().to_owned();
                if host.label(label).is_none() {
                    host.labels.push((label.clone(), value));
                }
            }
        }
    }
    for (name, _, age_s) in rows(age) {
        if let Some(host) = find(&mut hosts, &name) {
            host.age_s = age_s.max(0.0);
        }
    }
    for (column, json) in columns {
        for (name, _, value) in rows(json) {
            let Some(host) = find(&mut hosts, &name) else {
                continue;
            };
            match column {
                Column::Cpu => host.cpu = value.max(0.0),
                Column::Memory => host.memory = value,
                Column::Disk => host.disk = value,
                Column::Network => host.network = value,
                Column::Cores => host.cores = value,
                Column::Temperature => host.temperature = value,
            }
        }
    }
    for series in sparks.get("data").get("result").list() {
        let name = series.get("metric").text_of("instance");
        if let Some(host) = find(&mut hosts, name) {
            let values = series.get("values").list().iter();
            host.spark = values
                .filter_map(prom::sample)
                .map(|(_, value)| value)
                .collect();
        }
    }
    by_trouble(hosts)
}

fn find<'a>(hosts: &'a mut [Host], name: &str) -> Option<&'a mut Host> {
    let place = hosts.binary_search_by(|host| host.name.as_str().cmp(name));
    place.ok().map(|place| &mut hosts[place])
}

/// The worst first; who is as badly off by the fullest figure, then by name.
fn by_trouble(hosts: Vec<Host>) -> Vec<Host> {
    let mut sorted: Vec<Host> = Vec::new();
    for host in hosts {
        // The difference of noise moves nobody.
        let key = |host: &Host| (host.worst(), (host.fullest() / 10.0).floor());
        let place = sorted.partition_point(|other| key(other) >= key(&host));
        sorted.insert(place, host);
    }
    sorted
}

/// Labels that tell hosts apart, for grouping: such as more than one host has, with more than one
/// value, or one that all share.
#[must_use]
pub fn groupings(hosts: &[Host]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for host in hosts {
        for (label, _) in &host.labels {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
    }
    labels
}

/// Hosts with the same value of `label`, in the order of the worst of each; all in one where it is
/// empty.
#[must_use]
pub fn grouped<'a>(hosts: &'a [Host], label: &str) -> Vec<(String, Vec<&'a Host>)> {
    let mut groups: Vec<(String, Vec<&Host>)> = Vec::new();
    for host in hosts {
        let value = host.label(label).unwrap_or_default().to_owned();
        match groups.iter_mut().find(|(of, _)| *of == value) {
            Some((_, group)) => group.push(host),
            None => groups.push((value, vec![host])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(rows: &[(&str, f64)]) -> Json {
        let rows: Vec<String> = rows
            .iter()
            .map(|(name, value)| {
                format!(
                    r#"{{"metric":{{"__name__":"x","instance":"{name}","job":"{}"}},"value":[1,"{value}"]}}"#,
                    if name.starts_with("db") { "db" } else { "web" }
                )
            })
            .collect();
        let text = format!(r#"{{"data":{{"result":[{}]}}}}"#, rows.join(","));
        Json::parse(&text).expect("JSON")
    }

    fn hosts() -> Vec<Host> {
        let listed = vector(&[("web-1", 0.5), ("web-2", 0.1), ("db-1", 3.0), ("old", 0.0)]);
        let age = vector(&[
            ("web-1", 1.0),
            ("web-2", 1.0),
            ("db-1", 2.0),
            ("old", 4_000.0),
        ]);
        let cpu = vector(&[
            ("web-1", 12.0),
            ("web-2", 85.0),
            ("db-1", 14.0),
            ("gone", 1.0),
        ]);
        let disk = vector(&[("web-1", 40.0), ("db-1", 60.0)]);
        let columns = [(Column::Cpu, &cpu), (Column::Disk, &disk)];
        join(&listed, &age, &columns, &Json::Null)
    }

    #[test]
    fn trouble_comes_first() {
        let hosts = hosts();
        let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["old", "web-2", "db-1", "web-1"]);
        assert!(hosts[0].is_lost() && hosts[0].worst() == Trouble::Critical);
        assert_eq!(hosts[1].worst(), Trouble::Warning);
        assert!(hosts[1].memory.is_nan(), "what nobody sends is not 0");
        assert_eq!((hosts[2].load, hosts[2].age_s), (3.0, 2.0));
    }

    #[test]
    fn hosts_are_grouped_by_a_label() {
        let hosts = hosts();
        assert_eq!(groupings(&hosts), ["job"]);
        let groups = grouped(&hosts, "job");
        let sizes: Vec<_> = groups
            .iter()
            .map(|(name, of)| (name.as_str(), of.len()))
            .collect();
        assert_eq!(sizes, [("web", 3), ("db", 1)]);
        assert_eq!(grouped(&hosts, "").len(), 1);
    }
}
