//! The jobs that have ended, of which the journal does not have the runs any more: numbers as ranges, so that an input
//! without end takes no more than a short one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

const FILE: &str = "forgotten";

/// Numbers of jobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// The first of each range, and its last.
    ranges: BTreeMap<u64, u64>,
}

impl Forgotten {
    /// Those that the journal in `directory` has forgotten.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        match fs::read_to_string(directory.join(FILE)) {
            Ok(text) => Self::parse(&text).ok_or_else(|| {
                let reason = format!("'{FILE}' has a line that is not a range of numbers");
                io::Error::new(io::ErrorKind::InvalidData, reason)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes them, all or nothing.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let new = directory.join("forgotten.new");
        let mut file = File::create(&new)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(new, directory.join(FILE))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.ranges {
            text.push_str(&format!("{first} {last}\n"));
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let range = |line: &str| {
            let (first, last) = line.split_once(' ')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Some(Self {
            ranges: text.lines().map(range).collect::<Option<_>>()?,
        })
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.before(number).is_some_and(|(_, last)| last >= number)
    }

    pub(super) fn add(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let first = match self.before(number) {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = self.ranges.remove(&(number + 1)).unwrap_or(number);
        self.ranges.insert(first, last);
    }

    /// The last range that begins at `number` or before it.
    fn before(&self, number: u64) -> Option<(u64, u64)> {
        let range = self.ranges.range(..=number).next_back();
        range.map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_range_in_whichever_order_they_come() {
        let mut forgotten = Forgotten::default();
        for number in [3, 1, 7, 2, 8, 5, 8] {
            forgotten.add(number);
        }
        assert_eq!(forgotten.text(), "1 3\n5 5\n7 8\n");
        let there: Vec<_> = (0..10).filter(|number| forgotten.contains(*number)).collect();
        assert_eq!(there, [1, 2, 3, 5, 7, 8]);
        assert_eq!(Forgotten::parse(&forgotten.text()), Some(forgotten));
        assert_eq!(Forgotten::parse("1 3\n1 x\n"), None);
    }
}
