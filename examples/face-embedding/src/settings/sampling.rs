//! Who meets in a batch.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::range::within;

/// Pictures of a person in a batch, where nothing is given.
const PICTURES: usize = 4;
/// People in a batch, where there are enough.
const PEOPLE: usize = 16;

/// Batches of several pictures of each of several people, which a loss of pairs needs; a file of an earlier version has none of
/// these settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// People in a batch; in `[2, 32768]`.
    pub people_per_batch: Option<usize>,
    /// Pictures of each of them; in `[2, 32768]`. Somebody with fewer has some of them twice.
    pub pictures_per_person: Option<usize>,
}

impl Sampling {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If one is out of its range.
    pub fn check(&self) -> Result<()> {
        for (name, given) in
            [("people_per_batch", self.people_per_batch), ("pictures_per_person", self.pictures_per_person)]
        {
            if let Some(count) = given {
                within(name, count, 2..=32_768)?;
            }
        }
        Ok(())
    }

    /// People in a batch, and pictures of each; none where pictures are shuffled whoever is on them.
    ///
    /// After [`fit_to`](Self::fit_to).
    pub fn counts(&self) -> Option<[usize; 2]> {
        Some([self.people_per_batch?, self.pictures_per_person?])
    }

    /// Fills in what is not given, if such batches are needed or asked for. Returns how many pictures are in one.
    ///
    /// # Errors
    ///
    /// If there are too few people, or the size of a batch that was asked for is another.
    pub fn fit_to(
        &mut self,
        is_needed: bool,
        batch_size: Option<usize>,
        [pictures, people]: [usize; 2],
    ) -> Result<Option<usize>> {
        if !is_needed && *self == Self::default() {
            return Ok(None);
        }
        let each = *self.pictures_per_person.get_or_insert(PICTURES);
        let by_size = match batch_size {
            Some(size) => (size / each).min(people),
            None => (pictures / each).min(PEOPLE).min(people),
        };
        let in_batch = *self.people_per_batch.get_or_insert(by_size.max(2));
        ensure!(
            in_batch <= people,
            "people_per_batch: must be at most the number of people to train on, {people}, got {in_batch}"
        );
        let batch = in_batch * each;
        ensure!(
            batch_size.is_none_or(|size| size == batch),
            "batch_size: must be people_per_batch times pictures_per_person, {in_batch} times {each}, got {}",
            batch_size.unwrap_or_default()
        );
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_people_times_pictures() {
        let fit = |people_per_batch, pictures_per_person, batch_size, counts| {
            let mut sampling = Sampling { people_per_batch, pictures_per_person };
            let batch = sampling.fit_to(true, batch_size, counts).map_err(|error| error.to_string())?;
            Ok::<_, String>((batch.expect("it is needed"), sampling.counts().expect("filled in")))
        };
        assert_eq!(fit(None, None, None, [4000, 200]), Ok((64, [16, 4])));
        assert_eq!(fit(None, None, Some(12), [4000, 200]), Ok((12, [3, 4])));
        assert_eq!(fit(None, Some(2), None, [4000, 200]), Ok((32, [16, 2])));
        assert_eq!(fit(Some(5), Some(3), Some(15), [4000, 200]), Ok((15, [5, 3])));
        // Few pictures, and few people.
        assert_eq!(fit(None, None, None, [20, 10]), Ok((20, [5, 4])));
        assert_eq!(fit(None, None, None, [100, 3]), Ok((12, [3, 4])));
        let error = fit(Some(5), Some(3), Some(16), [4000, 200]).expect_err("15 are not 16");
        assert_eq!(error, "batch_size: must be people_per_batch times pictures_per_person, 5 times 3, got 16");
        let error = fit(Some(5), None, None, [4000, 4]).expect_err("5 of 4 people");
        assert!(error.starts_with("people_per_batch: must be at most the number of people to train on, 4"), "{error}");
        assert_eq!(Sampling::default().fit_to(false, None, [4000, 200]).expect("not needed"), None);
    }
}
