// Axes of the ellipsoid that holds a Gaussian with a given probability.

/** Square root of the 90 % quantile of chi-square: with 3 degrees of freedom, and with 2. */
export const IN_SPACE_90 = 2.5003;
export const IN_PLANE_90 = 2.1460;

/** Eigenvalues and eigenvectors (columns) of the symmetric [xx, xy, xz, yy, yz, zz], by Jacobi rotations. */
export function eigen([xx, xy, xz, yy, yz, zz]) {
  const a = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]];
  const v = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  for (let sweep = 0; sweep < 12; sweep++) {
    for (const [p, q] of [[0, 1], [0, 2], [1, 2]]) {
      if (Math.abs(a[p][q]) < 1e-15) continue;
      const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
      const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.hypot(theta, 1));
      const c = 1 / Math.hypot(t, 1);
      const s = t * c;
      for (let k = 0; k < 3; k++) {
        [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
      }
      for (let k = 0; k < 3; k++) {
        [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
        [v[k][p], v[k][q]] = [c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]];
      }
    }
  }
  return { values: [a[0][0], a[1][1], a[2][2]].map((value) => Math.max(value, 0)), vectors: v };
}

/** Semi-axes and angle of the horizontal ellipse of [xx, xy, xz, yy, yz, zz]. */
export function horizontal([xx, xy, , yy]) {
  const middle = (xx + yy) / 2;
  const apart = Math.hypot((xx - yy) / 2, xy);
  return {
    major: Math.sqrt(Math.max(middle + apart, 0)),
    minor: Math.sqrt(Math.max(middle - apart, 0)),
    angle: 0.5 * Math.atan2(2 * xy, xx - yy),
  };
}

/** Radius around the mean that holds 90 % of the errors, by Patnaik and Wilson-Hilferty, as in the report. */
export function radius90([xx, xy, xz, yy, yz, zz]) {
  const trace = xx + yy + zz;
  const squares = xx * xx + yy * yy + zz * zz + 2 * (xy * xy + xz * xz + yz * yz);
  if (!(squares > 0)) return null;
  const freedom = (trace * trace) / squares;
  const spread = 2 / (9 * freedom);
  return Math.sqrt((squares / trace) * freedom * (1 - spread + 1.2815515655 * Math.sqrt(spread)) ** 3);
}
