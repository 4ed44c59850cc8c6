//! Medians and percentiles.

/// The value in the middle of the sorted ones; the mean of the two in the middle where there are as many on both sides.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[middle - 1] + upper) / 2.0)
}

/// The smallest value that is not exceeded by this share of all, from 0 to 1 (nearest rank).
pub fn percentile(values: impl IntoIterator<Item = f64>, share: f64) -> Option<f64> {
    let sorted = sorted(values);
    // A share of the number of values is far from where casting is inexact.
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The largest distance from the median, as a share of it: how noisy the runs were.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let middle = median(sorted.iter().copied())?;
    let (first, last) = (sorted.first()?, sorted.last()?);
    (middle > 0.0).then(|| (last - middle).max(middle - first) / middle)
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([7.0]), Some(7.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = || (1..=200).map(f64::from);
        assert_eq!(percentile(values(), 0.5), Some(100.0));
        assert_eq!(percentile(values(), 0.99), Some(198.0));
        assert_eq!(percentile(values(), 0.0), Some(1.0));
        assert_eq!(percentile(values(), 1.0), Some(200.0));
        assert_eq!(percentile([3.0], 0.99), Some(3.0));
        assert_eq!(percentile([], 0.99), None);
    }

    #[test]
    fn the_spread_is_the_farther_end() {
        assert_eq!(spread([100.0, 110.0, 80.0]), Some(0.2));
        assert_eq!(spread([5.0]), Some(0.0));
        assert_eq!(spread([]), None);
        assert_eq!(spread([0.0]), None);
    }
}
