// The head of the page: its arrays, and where its triangles (or baked Gaussians) are in a pose.
// Nothing here knows of a browser. The mathematics is that of zero1a_jax/flame/model.py and geometry/meshes.py.
"use strict";

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };

// One array of the page: {dtype, shape, data} in base64, little-endian; with {low, step}, a number each a column,
// it holds fixed-point numbers, low + step * integer.
function unpack({ dtype, shape, data, low, step }) {
  const text = atob(data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const raw = new TYPES[dtype](bytes.buffer);
  if (!low) return raw;
  const out = new Float32Array(raw.length), columns = low.length;
  for (let i = 0; i < raw.length; i++) out[i] = low[i % columns] + step[i % columns] * raw[i];
  return out;
}

// The 3x3 matrix, row by row, of a rotation vector in radians.
function rotation([x, y, z]) {
  const angle = Math.hypot(x, y, z);
  const a = angle < 1e-6 ? 1 : Math.sin(angle) / angle;
  const b = angle < 1e-6 ? 0.5 : (1 - Math.cos(angle)) / (angle * angle);
  return [
    1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y,
    b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x,
    b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y),
  ];
}

function multiply(p, q) {
  const out = new Array(9);
  for (let i = 0; i < 3; i++)
    for (let j = 0; j < 3; j++) out[3 * i + j] = p[3 * i] * q[j] + p[3 * i + 1] * q[3 + j] + p[3 * i + 2] * q[6 + j];
  return out;
}

function times(m, [x, y, z]) {
  return [0, 3, 6].map((row) => m[row] * x + m[row + 1] * y + m[row + 2] * z);
}

// The rotation vector of turns about y, then x, then z (yaw, pitch, roll in degrees), as of Live Link.
function turned(yaw, pitch, roll) {
  const [a, b, c] = [yaw, pitch, roll].map((degrees) => (degrees * Math.PI) / 360);
  const [cy, sy, cx, sx, cz, sz] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b), Math.cos(c), Math.sin(c)];
  const w = cy * cx * cz + sy * sx * sz;
  const v = [cy * sx * cz + sy * cx * sz, sy * cx * cz - cy * sx * sz, cy * cx * sz - sy * sx * cz];
  const sine = Math.hypot(...v);
  const factor = sine < 1e-9 ? 2 : (2 * Math.atan2(sine, w)) / sine;
  return v.map((value) => value * factor);
}

const JOINTS = ["root", "neck", "jaw", "leftEye", "rightEye"];

function restPose(expressions) {
  const pose = { expression: new Float32Array(expressions), translation: [0, 0, 0] };
  for (const joint of JOINTS) pose[joint] = [0, 0, 0];
  return pose;
}

// The embedded head: blendshapes, pose correctives and linear blend skinning.
// frames: 12 numbers a triangle, the rows of scale * rotation with the centroid as a fourth column.
class Rig {
  constructor(data, arrays) {
    Object.assign(this, arrays);
    this.expressions = data.expressions;
    this.parents = data.parents;
    this.vertices = new Float32Array(this.rest.length);
    this.frames = new Float32Array(4 * this.faces.length);
  }

  // Adds sum over shapes k of weight(k) * offsets; `starts` says which rows belong to shape k.
  _blend(starts, index, offsets, weights) {
    const out = this.vertices;
    for (let k = 0; k < weights.length; k++) {
      const weight = weights[k];
      if (weight === 0) continue;
      for (let row = starts[k]; row < starts[k + 1]; row++) {
        const to = 3 * index[row], from = 3 * row;
        out[to] += weight * offsets[from];
        out[to + 1] += weight * offsets[from + 1];
        out[to + 2] += weight * offsets[from + 2];
      }
    }
  }

  // For each joint the 3x4 matrix that takes a vertex at rest to where that joint alone would carry it.
  _joints(pose, locals) {
    const count = this.expressions.length, matrices = [], places = [];
    const rest = JOINTS.map((_, joint) => [0, 1, 2].map((axis) => {
      let value = this.joints[3 * joint + axis];
      for (let e = 0; e < count; e++) value += pose.expression[e] * this.jointOffsets[(3 * joint + axis) * count + e];
      return value;
    }));
    return rest.map((own, joint) => {
      const parent = this.parents[joint];
      const turn = parent < 0 ? locals[joint] : multiply(matrices[parent], locals[joint]);
      const bone = parent < 0 ? own : times(matrices[parent], own.map((value, axis) => value - rest[parent][axis]));
      matrices.push(turn);
      places.push(parent < 0 ? own : bone.map((value, axis) => value + places[parent][axis]));
      const away = times(turn, own).map((value, axis) => places[joint][axis] - value + pose.translation[axis]);
      return [0, 1, 2].flatMap((axis) => [...turn.slice(3 * axis, 3 * axis + 3), away[axis]]);
    });
  }

  pose(pose) {
    const vertices = this.vertices, skinning = this.skinning, joints = JOINTS.length;
    vertices.set(this.rest);
    this._blend(this.shapeStarts, this.shapeIndex, this.shapeOffsets, pose.expression);
    const locals = JOINTS.map((joint) => rotation(pose[joint]));
    const feature = locals.slice(1).flatMap((m) => m.map((value, i) => value - (i % 4 === 0 ? 1 : 0)));
    this._blend(this.correctiveStarts, this.correctiveIndex, this.correctiveOffsets, feature);
    const matrices = this._joints(pose, locals), m = new Float64Array(12);
    for (let v = 0; v < vertices.length / 3; v++) {
      m.fill(0);
      for (let joint = 0; joint < joints; joint++) {
        const weight = skinning[v * joints + joint];
        if (weight !== 0) for (let i = 0; i < 12; i++) m[i] += weight * matrices[joint][i];
      }
      const x = vertices[3 * v], y = vertices[3 * v + 1], z = vertices[3 * v + 2];
      for (let axis = 0; axis < 3; axis++)
        vertices[3 * v + axis] = m[4 * axis] * x + m[4 * axis + 1] * y + m[4 * axis + 2] * z + m[4 * axis + 3];
    }
    this._frames();
    return this.frames;
  }

  _frames() {
    const { vertices, faces, frames } = this;
    for (let f = 0; f < faces.length / 3; f++) {
      const i = 3 * faces[3 * f], j = 3 * faces[3 * f + 1], k = 3 * faces[3 * f + 2];
      const ox = vertices[i], oy = vertices[i + 1], oz = vertices[i + 2];
      let ax = vertices[j] - ox, ay = vertices[j + 1] - oy, az = vertices[j + 2] - oz;
      const sx = vertices[k] - ox, sy = vertices[k + 1] - oy, sz = vertices[k + 2] - oz;
      const base = Math.max(Math.sqrt(ax * ax + ay * ay + az * az), 1e-10);
      ax /= base; ay /= base; az /= base;
      let nx = ay * sz - az * sy, ny = az * sx - ax * sz, nz = ax * sy - ay * sx;
      const height = Math.max(Math.sqrt(nx * nx + ny * ny + nz * nz), 1e-10);
      nx /= height; ny /= height; nz /= height;
      const scale = Math.max(0.5 * (base + height), 1e-7), to = 12 * f;
      frames[to] = scale * ax; frames[to + 4] = scale * ay; frames[to + 8] = scale * az;
      frames[to + 1] = scale * nx; frames[to + 5] = scale * ny; frames[to + 9] = scale * nz;
      frames[to + 2] = scale * (ay * nz - az * ny);
      frames[to + 6] = scale * (az * nx - ax * nz);
      frames[to + 10] = scale * (ax * ny - ay * nx);
      for (let axis = 0; axis < 3; axis++)
        frames[to + 4 * axis + 3] = (vertices[i + axis] + vertices[j + axis] + vertices[k + axis]) / 3;
    }
  }
}

// A head whose rig may not be given away: where every Gaussian is in a few poses, and halfway between two.
class Baked {
  constructor(data, arrays) {
    Object.assign(this, arrays);
    this.count = arrays.logits.length;
    this.frames = new Float32Array(12 * this.count);
  }

  // pose: {from, to, share}, the numbers of two baked poses and how far from the one to the other.
  pose({ from, to, share }) {
    const { bakedMeans, bakedQuats, bakedSizes, count, frames } = this;
    const mix = (values, width, n, c) => {
      const a = values[(from * count + n) * width + c], b = values[(to * count + n) * width + c];
      return a + share * (b - a);
    };
    for (let n = 0; n < count; n++) {
      const quat = [0, 1, 2, 3].map((c) => mix(bakedQuats, 4, n, c)), scale = Math.exp(mix(bakedSizes, 1, n, 0));
      const length = Math.max(Math.hypot(...quat), 1e-10), [w, x, y, z] = quat.map((value) => value / length);
      const turn = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
      ];
      for (let axis = 0; axis < 3; axis++) {
        for (let c = 0; c < 3; c++) frames[12 * n + 4 * axis + c] = scale * turn[3 * axis + c];
        frames[12 * n + 4 * axis + 3] = mix(bakedMeans, 3, n, axis);
      }
    }
    return frames;
  }
}
