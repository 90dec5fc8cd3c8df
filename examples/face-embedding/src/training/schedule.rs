//! The learning rate over the course of a run.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

/// Rises in a straight line to its peak, then falls along half a cosine to zero.
///
/// ```text
/// rise:  peak · (step + 1) / warmup_steps
/// fall:  peak · (1 + cos(pi · (step - warmup_steps) / (total_steps - warmup_steps))) / 2
/// ```
///
/// Burn's sequence of a linear rise and a cosine refuses peaks above 1 and rises of one step, its cosine rises again
/// after the last step, and its parts keep their own counts, which are wrong once a resumed run is prolonged.
#[derive(Clone, Debug)]
pub struct WarmupCosine {
    peak: f64,
    warmup_steps: usize,
    total_steps: usize,
    step: usize,
}

impl WarmupCosine {
    /// A schedule that stands before its first step.
    pub fn new(peak: f64, warmup_steps: usize, total_steps: usize) -> Self {
        Self { peak, warmup_steps, total_steps, step: 0 }
    }
}

impl LrScheduler for WarmupCosine {
    fn step(&mut self) -> f64 {
        let step = self.step;
        self.step += 1;
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let fall_steps = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let fallen = ((step - self.warmup_steps) as f64 / fall_steps as f64).min(1.0);
        self.peak * 0.5 * (1.0 + (std::f64::consts::PI * fallen).cos())
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        // Only the place is loaded: peak and length belong to the configuration, which a resumed
        // run may have prolonged.
        if let Some(step) = record.scalar::<usize>("step") {
            self.step = step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_the_peak_and_falls_to_zero() {
        let mut schedule = WarmupCosine::new(0.8, 4, 12);
        let rates: Vec<f64> = (0..14).map(|_| schedule.step()).collect();
        // By hand: a quarter of the peak per step, then cos(pi·k/8).
        assert!((rates[0] - 0.2).abs() < 1e-12);
        assert!((rates[3] - 0.8).abs() < 1e-12);
        assert!((rates[4] - 0.8).abs() < 1e-12);
        assert!((rates[8] - 0.4).abs() < 1e-12);
        assert!(rates[12].abs() < 1e-12 && rates[13].abs() < 1e-12);
    }

    #[test]
    fn a_loaded_record_continues_where_it_was_saved() {
        let mut schedule = WarmupCosine::new(0.1, 3, 20);
        for _ in 0..7 {
            schedule.step();
        }
        let mut resumed = WarmupCosine::new(0.1, 3, 20);
        resumed.load_record(schedule.to_record());
        assert_eq!(resumed.step(), schedule.step());
    }
}
