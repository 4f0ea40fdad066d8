// Plain formulas; the names say which.
#include "lamp/volume/matrix3.h"

#include <algorithm>
#include <cmath>

namespace lamp {

double norm(const Vector3& v) { return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]); }

Vector3 column(const Matrix3& m, int axis) { return {m[axis], m[3 + axis], m[6 + axis]}; }

void set_column(Matrix3& m, int axis, const Vector3& v) {
  for (int r = 0; r < 3; ++r) m[3 * r + axis] = v[r];
}

Vector3 product(const Matrix3& m, const Vector3& v) {
  Vector3 result;
  for (int r = 0; r < 3; ++r)
    result[r] = m[3 * r] * v[0] + m[3 * r + 1] * v[1] + m[3 * r + 2] * v[2];
  return result;
}

Matrix3 product(const Matrix3& a, const Matrix3& b) {
  Matrix3 result;
  for (int c = 0; c < 3; ++c) set_column(result, c, product(a, column(b, c)));
  return result;
}

double determinant(const Matrix3& m) {
  return m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) +
         m[2] * (m[3] * m[7] - m[4] * m[6]);
}

Matrix3 inverted(const Matrix3& m) {
  const double d = determinant(m);
  return {(m[4] * m[8] - m[5] * m[7]) / d, (m[2] * m[7] - m[1] * m[8]) / d,
          (m[1] * m[5] - m[2] * m[4]) / d, (m[5] * m[6] - m[3] * m[8]) / d,
          (m[0] * m[8] - m[2] * m[6]) / d, (m[2] * m[3] - m[0] * m[5]) / d,
          (m[3] * m[7] - m[4] * m[6]) / d, (m[1] * m[6] - m[0] * m[7]) / d,
          (m[0] * m[4] - m[1] * m[3]) / d};
}

double orthonormality_error(const Matrix3& m) {
  double error = 0;
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) {
      const Vector3 u = column(m, a), v = column(m, b);
      const double off = std::abs(u[0] * v[0] + u[1] * v[1] + u[2] * v[2] - (a == b ? 1 : 0));
      if (!(off <= error)) error = off;  // also carries NaN
      if (std::isnan(error)) return error;
    }
  }
  return error;
}

Matrix3 nearest_orthonormal(const Matrix3& m) {
  Matrix3 x = m;
  for (int round = 0; round < 100; ++round) {
    const Matrix3 y = inverted(x);
    double change = 0;
    Matrix3 next;
    for (int r = 0; r < 3; ++r) {
      for (int c = 0; c < 3; ++c) {
        next[3 * r + c] = (x[3 * r + c] + y[3 * c + r]) / 2;
        change = std::max(change, std::abs(next[3 * r + c] - x[3 * r + c]));
      }
    }
    x = next;
    if (change < 1e-15) break;
  }
  return x;
}

}  // namespace lamp
