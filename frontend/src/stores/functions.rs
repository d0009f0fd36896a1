//! What can be called in an expression: name, arguments and what comes of it, as completion shows
//! it. `v` is a value for each series at one time, `r` such as `x[5m]`, `s` a number, `t` a text.

/// Those of the server, a line each; the aggregations come first.
const ALL: &str = "\
sum(v)|Sum; by (label) or without (label)
avg(v)|Mean
min(v)|Least
max(v)|Greatest
count(v)|How many series
group(v)|1 for each group
stddev(v)|Standard deviation
stdvar(v)|Variance
topk(s, v)|The s greatest
bottomk(s, v)|The s least
quantile(s, v)|Such as 0.95
count_values(t, v)|How often each value occurs
abs(v)|Without sign
absent(v)|1 where there is nothing
absent_over_time(r)|1 where there was nothing
acos(v)|
acosh(v)|
asin(v)|
asinh(v)|
atan(v)|
atanh(v)|
avg_over_time(r)|Mean of the samples
ceil(v)|Up to a whole number
changes(r)|How often it changed
clamp(v, s, s)|Within least and greatest
clamp_max(v, s)|No more than
clamp_min(v, s)|No less than
cos(v)|
cosh(v)|
count_over_time(r)|How many samples
day_of_month(v)|1 to 31, UTC
day_of_week(v)|0 is Sunday, UTC
day_of_year(v)|1 to 366, UTC
days_in_month(v)|28 to 31
deg(v)|Radians as degrees
delta(r)|Difference of a gauge
deriv(r)|Slope /s of a gauge
exp(v)|
floor(v)|Down to a whole number
histogram_avg(v)|
histogram_count(v)|
histogram_fraction(s, s, v)|Share between two bounds
histogram_quantile(s, v)|Of buckets by le, such as 0.95
histogram_stddev(v)|
histogram_stdvar(v)|
histogram_sum(v)|
hour(v)|0 to 23, UTC
idelta(r)|Difference of the last two samples
increase(r)|Growth of a counter
irate(r)|Growth /s, of the last two samples
label_join(v, t, t, t)|New label, separator, labels
label_replace(v, t, t, t, t)|New label, replacement, label, pattern
last_over_time(r)|Newest sample
ln(v)|
log10(v)|
log2(v)|
max_over_time(r)|Greatest sample
min_over_time(r)|Least sample
minute(v)|0 to 59
month(v)|1 to 12, UTC
pi()|
predict_linear(r, s)|Where it will be so many s from now
present_over_time(r)|1 where there was something
quantile_over_time(s, r)|Of the samples, such as 0.95
rad(v)|Degrees as radians
rate(r)|Growth /s of a counter
resets(r)|How often a counter began anew
round(v, s)|To a multiple of s
scalar(v)|The only series as a number
sgn(v)|-1, 0 or 1
sin(v)|
sinh(v)|
sort(v)|Least first
sort_desc(v)|Greatest first
sqrt(v)|
stddev_over_time(r)|Standard deviation of the samples
stdvar_over_time(r)|Variance of the samples
sum_over_time(r)|Sum of the samples
tan(v)|
tanh(v)|
time()|Unix time, in s
timestamp(v)|When the sample was
vector(s)|A number as a series
year(v)|UTC";

/// Something that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// With its arguments, such as `topk(s, v)`.
    pub signature: &'static str,
    /// What comes of it; empty where the name says it.
    pub what: &'static str,
}

/// All of them, aggregations first.
pub fn all() -> impl Iterator<Item = Function> {
    ALL.lines().filter_map(|line| {
        let (signature, what) = line.split_once('|')?;
        let (name, _) = signature.split_once('(')?;
        Some(Function {
            name,
            signature,
            what,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is offered is what the server's own table has.
    #[test]
    fn every_function_of_the_server_is_offered() {
        let table = include_str!("../../../promql/src/functions.rs");
        let known = table.split("pub static FUNCTIONS").nth(1).expect("a table");
        let known = known.split("];").next().unwrap_or_default();
        let mut count = 0;
        for (place, _) in known.match_indices('"').step_by(2) {
            let name = known[place + 1..].split('"').next().unwrap_or_default();
            let found = all().find(|function| function.name == name);
            assert!(found.is_some(), "{name} is missing");
            count += 1;
        }
        assert_eq!(
            all().skip_while(|function| function.name != "abs").count(),
            count
        );
    }
}
