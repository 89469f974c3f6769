"""Mean and covariance of a posterior with a correlation."""

import numpy as np

MEAN = np.array([-2.31, -2.87])
COVARIANCE = np.array([[0.0084**2, 0.83 * 0.0084 * 0.0123], [0, 0.0123**2]])
COVARIANCE[1, 0] = COVARIANCE[0, 1]
