use crate::EvalError;

/// The fold of each pair when `pairs` pairs are cut, in order, into `folds` runs.
///
/// ```text
/// length of fold f = pairs / folds, plus 1 if f < pairs % folds
/// ```
///
/// Nothing is drawn by chance. Pairs in the order of LFW's `pairs.txt` fall into its official ten
/// folds.
///
/// ```
/// assert_eq!(embedding_eval::contiguous_folds(7, 3)?, [0, 0, 0, 1, 1, 2, 2]);
/// # Ok::<(), embedding_eval::EvalError>(())
/// ```
///
/// # Errors
///
/// - [`TooFewFolds`](EvalError::TooFewFolds) if `folds < 2`
/// - [`MoreFoldsThanPairs`](EvalError::MoreFoldsThanPairs) if a fold would be empty
///
/// # Source
///
/// scikit-learn's `KFold(n_splits=folds, shuffle=False)`.
pub fn contiguous_folds(pairs: usize, folds: usize) -> Result<Vec<usize>, EvalError> {
    if folds < 2 {
        return Err(EvalError::TooFewFolds { folds });
    }
    if folds > pairs {
        return Err(EvalError::MoreFoldsThanPairs { folds, pairs });
    }

    let mut assigned = Vec::with_capacity(pairs);
    for fold in 0..folds {
        let length = pairs / folds + usize::from(fold < pairs % folds);
        assigned.extend(std::iter::repeat_n(fold, length));
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_folds_as_pairs_gives_each_its_own() {
        assert_eq!(contiguous_folds(3, 3).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn fold_counts_that_cannot_work_are_refused() {
        for folds in [0, 1] {
            let error = contiguous_folds(5, folds).unwrap_err();
            assert_eq!(error, EvalError::TooFewFolds { folds });
        }
        let error = contiguous_folds(2, 3).unwrap_err();
        assert_eq!(error, EvalError::MoreFoldsThanPairs { folds: 3, pairs: 2 });
    }
}
