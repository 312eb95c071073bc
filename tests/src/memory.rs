//! What this process takes of the machine's memory.

/// Proportional set size, in bytes: pages that are shared, also with other mappings of this process, count by the
/// share. What the runs of one component have in common is then counted once.
///
/// # Panics
/// When `/proc` is not mounted.
pub fn proportional_set_size() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("/proc is mounted");
    let line = rollup.lines().find(|line| line.starts_with("Pss:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: usize = number.and_then(|number| number.parse().ok()).expect("a number");
    kilobytes * 1024
}
