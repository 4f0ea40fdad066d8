// The little algebra of 3x3 matrices that grids need, in double precision and without a library.
#pragma once

#include <array>

namespace lamp {

using Vector3 = std::array<double, 3>;
using Matrix3 = std::array<double, 9>;  // row-major

double norm(const Vector3& v);
Vector3 column(const Matrix3& m, int axis);
void set_column(Matrix3& m, int axis, const Vector3& v);
Vector3 product(const Matrix3& m, const Vector3& v);
Matrix3 product(const Matrix3& a, const Matrix3& b);
double determinant(const Matrix3& m);
// The caller has made sure that the determinant is not 0.
Matrix3 inverted(const Matrix3& m);

// max |R^T R - I|: 0 for rotations and reflections, NaN for a matrix with NaN.
double orthonormality_error(const Matrix3& m);
// The orthonormal matrix nearest to `m` (its polar factor), with the sign of its determinant.
// Newton's iteration of Higham, "Computing the polar decomposition" (1986). `m` must not be
// singular.
Matrix3 nearest_orthonormal(const Matrix3& m);

}  // namespace lamp
