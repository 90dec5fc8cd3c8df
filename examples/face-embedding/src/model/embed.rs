//! Embeddings of a set of pictures.

use anyhow::Result;
use burn::tensor::Device;

use super::trunk::Trunk;
use crate::data::augment::Change;
use crate::data::face_set::{Face, FaceSet, pixels};
use crate::data::tensor::pictures;
use crate::settings::config::TrainConfig;

/// Pictures embedded at once, where they are small.
const BATCH: usize = 128;
/// Places in the pictures embedded at once: the first features of a large network have 64 numbers for each.
const PLACES: usize = 128 * 64 * 64;

/// What a trunk is shown of a picture: the picture and its mirror image, as the field does, and both moved by some pixels to eight
/// places around, if that is asked for. Faces that are not aligned by landmarks are seldom in one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Views {
    /// Down and right, in pixels.
    places: Vec<[isize; 2]>,
}

impl Views {
    /// Those of a run with this configuration.
    ///
    /// # Panics
    ///
    /// If it was not [resolved](TrainConfig::resolve).
    pub fn of(config: &TrainConfig) -> Self {
        let share = config.view_shift.expect("view_shift is resolved");
        Self::moved_by((share * config.network.image_size() as f64).round() as isize)
    }

    fn moved_by(pixels: isize) -> Self {
        let steps = [0, -pixels, pixels];
        let around = steps.into_iter().flat_map(|down| steps.map(|right| [down, right]));
        Self { places: around.take(if pixels == 0 { 1 } else { 9 }).collect() }
    }

    /// Down and right, in pixels; every place has the picture and its mirror image.
    pub fn places(&self) -> &[[isize; 2]] {
        &self.places
    }

    /// The embeddings of all pictures, `[pictures, embedding_size]`, row-major; each is the sum of the embeddings of its views.
    ///
    /// # Errors
    ///
    /// If a picture or an embedding cannot be read.
    pub fn embed(&self, trunk: &Trunk, faces: &FaceSet, device: &Device) -> Result<Vec<f32>> {
        let mut embeddings = Vec::new();
        let at_once = (PLACES / (faces.size * faces.size)).clamp(1, BATCH);
        for batch in faces.faces.chunks(at_once) {
            let batch = pixels(&batch.iter().collect::<Vec<&Face>>())?;
            let of = |change| trunk.forward(pictures(batch.iter().map(|of| (&**of, change)), faces.size, device));
            let mut sum = of(Change::NONE) + of(Change::MIRROR);
            for &place in &self.places[1..] {
                sum = sum + of(Change::NONE.moved(place)) + of(Change::MIRROR.moved(place));
            }
            embeddings.extend(sum.try_into_data()?.iter::<f32>());
        }
        Ok(embeddings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::face_model::untrained_trunk;

    /// Expected by pictures that were moved by hand: a row is that of above, or the first one again.
    #[test]
    fn an_embedding_is_the_sum_of_those_of_all_views() {
        let (size, device) = (16, Device::flex());
        let config =
            TrainConfig::from_json(r#"{"image_size": 16, "width": 2, "embedding_size": 3}"#).expect("settings");
        let trunk = untrained_trunk(&config.resolve().expect("in range"), &device);
        let pixels: Vec<u8> = (0..size * size * 3).map(|place| (place * 37 % 251) as u8).collect();
        let set = |pixels: Vec<u8>| FaceSet { size, people: vec!["Ada".into()], faces: vec![Face::drawn(0, pixels)] };
        let of = |views: Views, pixels: Vec<u8>| views.embed(&trunk, &set(pixels), &device).expect("an embedding");
        let moved = |down: isize, right: isize| -> Vec<u8> {
            let last = size as isize - 1;
            let from = |place: usize, by: isize| (place as isize - by).clamp(0, last) as usize;
            let at = |row, column| &pixels[(from(row, down) * size + from(column, right)) * 3..][..3];
            (0..size).flat_map(|row| (0..size).flat_map(move |column| at(row, column).to_vec())).collect()
        };
        let mut expected = [0.0; 3];
        for (down, right) in (-2..=2).step_by(2).flat_map(|down| [-2, 0, 2].map(|right| (down, right))) {
            let embedding = of(Views::moved_by(0), moved(down, right));
            expected.iter_mut().zip(embedding).for_each(|(sum, number)| *sum += number);
        }
        let actual = of(Views::moved_by(2), pixels.clone());
        for (actual, expected) in actual.into_iter().zip(expected) {
            assert!((actual - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{actual} {expected}");
        }
    }

    #[test]
    fn a_picture_is_moved_to_eight_places_around_if_at_all() {
        assert_eq!(Views::moved_by(0).places, [[0, 0]]);
        let around = [[0, 0], [0, -3], [0, 3], [-3, 0], [-3, -3], [-3, 3], [3, 0], [3, -3], [3, 3]];
        assert_eq!(Views::moved_by(3).places, around);
        let of = |data: Option<std::path::PathBuf>| {
            let config = TrainConfig { data, ..TrainConfig::default() };
            Views::of(&config.resolve().expect("in range"))
        };
        // A sixteenth of 40 pixels are 2.5.
        assert_eq!((of(None), of(Some("faces".into()))), (Views::moved_by(0), Views::moved_by(3)));
    }
}
