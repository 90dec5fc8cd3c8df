//! The turned head: where a point of the face appears in the picture.

/// Shape of the skull, which all features sit on; the middle of the head is the origin, x points
/// right, y down, z to the camera, and the unit is about half the height of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Skull {
    pub(super) half_width: f32,
    pub(super) half_height: f32,
    pub(super) half_depth: f32,
}

/// Sine and cosine of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) sine: f32,
    pub(super) cosine: f32,
}

impl Turn {
    /// From an angle in radians, at most about one in size.
    pub(super) fn of(angle: f32) -> Self {
        // The standard sine may differ in its last bit between platforms; this series is off by
        // less than 3e-6 up to one radian and the same everywhere.
        let square = angle * angle;
        let sine = angle * (1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0)));
        Self { sine, cosine: (1.0 - sine * sine).max(0.0).sqrt() }
    }
}

/// A skull seen from one side.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    skull: Skull,
    yaw: Turn,
    pitch: Turn,
}

/// Where a feature appears, and how much its turning away has narrowed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) u: f32,
    pub(super) v: f32,
    /// Factor for widths of the feature.
    pub(super) narrowing: f32,
    /// Positive on the side of the head that the camera sees.
    pub(super) depth: f32,
}

impl View {
    /// `yaw` and `pitch` in radians: positive looks to the right, and up.
    pub(super) fn new(skull: Skull, yaw: f32, pitch: f32) -> Self {
        Self { skull, yaw: Turn::of(yaw), pitch: Turn::of(pitch) }
    }

    /// A point of the face, raised above the surface of the skull by `lift`.
    pub(super) fn on_face(&self, x: f32, y: f32, lift: f32) -> Spot {
        let Skull { half_width, half_height, half_depth } = self.skull;
        let (across, along) = (x / half_width, y / half_height);
        let rise = (1.0 - across * across - along * along).max(0.04).sqrt();
        // Slope of the surface to the side: how fast the normal turns away from the camera.
        let slope = across * half_depth / (half_width * rise);
        let spot = self.at(x, y, half_depth * rise + lift);
        let narrowing = (self.yaw.cosine - slope * self.yaw.sine).clamp(0.3, 1.4);
        Spot { narrowing, ..spot }
    }

    /// Any point of the head.
    pub(super) fn at(&self, x: f32, y: f32, z: f32) -> Spot {
        let (yaw, pitch) = (self.yaw, self.pitch);
        let u = x * yaw.cosine + z * yaw.sine;
        let turned = z * yaw.cosine - x * yaw.sine;
        let v = y * pitch.cosine - turned * pitch.sine;
        let depth = turned * pitch.cosine + y * pitch.sine;
        Spot { u, v, narrowing: yaw.cosine, depth }
    }

    /// Half the width of the turned skull's outline.
    pub(super) fn outline_half_width(&self) -> f32 {
        let across = self.skull.half_width * self.yaw.cosine;
        let deep = self.skull.half_depth * self.yaw.sine;
        (across * across + deep * deep).sqrt()
    }

    /// Half the height of the turned skull's outline.
    pub(super) fn outline_half_height(&self) -> f32 {
        let along = self.skull.half_height * self.pitch.cosine;
        let deep = self.skull.half_depth * self.pitch.sine;
        (along * along + deep * deep).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKULL: Skull = Skull { half_width: 0.7, half_height: 1.0, half_depth: 0.9 };

    #[test]
    fn turn_agrees_with_the_standard_sine_and_cosine() {
        for step in -10..=10 {
            let angle = step as f32 / 10.0;
            let turn = Turn::of(angle);
            assert!((turn.sine - angle.sin()).abs() < 4e-6, "sine of {angle}");
            assert!((turn.cosine - angle.cos()).abs() < 8e-6, "cosine of {angle}");
        }
    }

    #[test]
    fn frontal_view_leaves_points_where_they_are() {
        let spot = View::new(SKULL, 0.0, 0.0).on_face(0.3, -0.2, 0.1);
        assert_eq!((spot.u, spot.v, spot.narrowing), (0.3, -0.2, 1.0));
    }

    #[test]
    fn raised_features_move_more_than_flat_ones() {
        let view = View::new(SKULL, 0.3, 0.2);
        let (flat, raised) = (view.on_face(0.0, 0.0, 0.0), view.on_face(0.0, 0.0, 0.3));
        assert!(raised.u > flat.u && flat.u > 0.2, "{raised:?} {flat:?}");
        assert!(raised.v < flat.v && flat.v < -0.1, "{raised:?} {flat:?}");
    }

    #[test]
    fn far_side_of_a_turned_face_is_narrower() {
        let view = View::new(SKULL, 0.4, 0.0);
        let (far, near) = (view.on_face(0.35, 0.0, 0.0), view.on_face(-0.35, 0.0, 0.0));
        assert!(far.narrowing < 0.8 && near.narrowing > 1.0, "{far:?} {near:?}");
    }
}
