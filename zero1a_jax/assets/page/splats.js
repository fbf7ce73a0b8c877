// Gaussians on the page: sorted by depth on the processor, drawn as quads by WebGL2 in one call. Quads that are
// instances of one would be simpler, but software renderers draw those one by one, seven times slower.
// Projection, 0.3 px^2 blur, opacity compensation, limits of alpha and spherical harmonics are those of
// zero1a_jax/rasterizer (project.py, blend_steps.py, harmonics.py).
"use strict";

const ROW = 1024; // texels a row of the data textures

const VERTEX = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D gaussians, frames, colours;
uniform vec4 view[3];
uniform vec3 eye;
uniform vec2 focal, size;
uniform int terms;
out vec2 at;
flat out vec4 paint;

vec4 texel(sampler2D data, int index) {
  return texelFetch(data, ivec2(index % ${ROW}, index / ${ROW}), 0);
}

vec3 colour(int n, vec3 to) {
  float x = to.x, y = to.y, z = to.z, basis[16];
  basis[0] = 0.28209479177387814;
  if (terms > 1) {
    basis[1] = -0.4886025119029199 * y; basis[2] = 0.4886025119029199 * z; basis[3] = -0.4886025119029199 * x;
  }
  if (terms > 4) {
    basis[4] = 1.0925484305920792 * x * y; basis[5] = -1.0925484305920792 * y * z;
    basis[6] = 0.31539156525252005 * (2.0 * z * z - x * x - y * y);
    basis[7] = -1.0925484305920792 * x * z; basis[8] = 0.5462742152960396 * (x * x - y * y);
  }
  if (terms > 9) {
    basis[9] = -0.5900435899266435 * y * (3.0 * x * x - y * y);
    basis[10] = 2.890611442640554 * x * y * z;
    basis[11] = -0.4570457994644658 * y * (4.0 * z * z - x * x - y * y);
    basis[12] = 0.3731763325901154 * z * (2.0 * z * z - 3.0 * x * x - 3.0 * y * y);
    basis[13] = -0.4570457994644658 * x * (4.0 * z * z - x * x - y * y);
    basis[14] = 1.445305721320277 * z * (x * x - y * y);
    basis[15] = -0.5900435899266435 * x * (x * x - 3.0 * y * y);
  }
  vec3 sum = vec3(0.5);
  for (int k = 0; k < terms; k++) sum += basis[k] * texel(colours, n * terms + k).rgb;
  return max(sum, 0.0);
}

void main() {
  gl_Position = vec4(2.0, 2.0, 0.0, 1.0); // outside: nothing is drawn
  int n = gl_VertexID / 4, corner = gl_VertexID % 4;
  vec4 place = texel(gaussians, 3 * n), q = texel(gaussians, 3 * n + 1), shape = texel(gaussians, 3 * n + 2);
  int face = int(place.w);
  vec4 r0 = texel(frames, 3 * face), r1 = texel(frames, 3 * face + 1), r2 = texel(frames, 3 * face + 2);
  vec3 world = vec3(dot(r0, vec4(place.xyz, 1.0)), dot(r1, vec4(place.xyz, 1.0)), dot(r2, vec4(place.xyz, 1.0)));
  vec3 c = vec3(dot(view[0], vec4(world, 1.0)), dot(view[1], vec4(world, 1.0)), dot(view[2], vec4(world, 1.0)));
  if (c.z < 0.01) return;
  float w = q.x, x = q.y, y = q.z, z = q.w;
  mat3 turn = mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
  mat3 axes = transpose(mat3(r0.xyz, r1.xyz, r2.xyz)) * turn;
  vec2 reach = 0.65 * size / focal; // half of the picture and 15 %
  vec2 slope = clamp(c.xy / c.z, -reach, reach);
  vec3 rowX = (focal.x / c.z * (view[0].xyz - slope.x * view[2].xyz)) * axes * shape.xyz;
  vec3 rowY = (focal.y / c.z * (view[1].xyz - slope.y * view[2].xyz)) * axes * shape.xyz;
  vec3 across = cross(rowX, rowY);
  float area = dot(across, across), rawX = dot(rowX, rowX), rawY = dot(rowY, rowY), both = dot(rowX, rowY);
  float determinant = area + 0.3 * (rawX + rawY) + 0.09, varianceY = rawY + 0.3;
  float opacity = shape.w + 0.5 * log(max(area / determinant, 1e-12));
  float rim = opacity + log(255.0); // of u^2 + v^2, where alpha falls to 1/255
  if (rim <= 0.0) return;
  float l00 = sqrt(0.5 * varianceY / determinant), l01 = -both / varianceY * l00, l11 = sqrt(0.5 / varianceY);
  at = vec2(corner % 2, corner / 2) * 2.0 - 1.0;
  at *= sqrt(rim);
  float dy = at.y / l11, dx = (at.x - l01 * dy) / l00;
  vec2 pixel = focal * c.xy / c.z + vec2(dx, dy);
  paint = vec4(colour(n, normalize(world - eye)), opacity);
  gl_Position = vec4(2.0 * pixel.x / size.x, -2.0 * pixel.y / size.y, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec2 at;
flat in vec4 paint;
out vec4 painted;
void main() {
  float alpha = exp(paint.a - dot(at, at));
  if (alpha < 1.0 / 255.0) discard;
  alpha = min(alpha, 0.99);
  painted = vec4(paint.rgb * alpha, alpha);
}`;

class Splats {
  // arrays: face [N], means, scales, quats, logits, sh [N, terms, 3]; frames: how many numbers they have.
  // Throws where the browser has no WebGL2.
  constructor(canvas, arrays, frames) {
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false, powerPreference: "high-performance" });
    if (!gl) throw new Error("this browser shows no WebGL2");
    this.canvas = canvas;
    this.gl = gl;
    this.count = arrays.logits.length;
    this.terms = arrays.sh.length / (3 * this.count);
    this.face = arrays.face;
    this.means = arrays.means;
    this.program = this._program();
    this._textures(arrays, frames);
    this.corners = new Uint32Array(6 * this.count); // two triangles a Gaussian, in the order of drawing
    this.keys = new Uint16Array(this.count);
    this.depths = new Float32Array(this.count);
    this.starts = new Uint32Array(65537);
    gl.bindVertexArray(gl.createVertexArray());
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.corners.byteLength, gl.DYNAMIC_DRAW);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  _program() {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    return program;
  }

  _textures({ face, means, scales, quats, logits, sh }, frames) {
    const count = this.count, placed = new Float32Array(12 * count), painted = new Float32Array(4 * count * this.terms);
    for (let n = 0; n < count; n++) {
      const logit = logits[n];
      const opacity = logit > 0 ? -Math.log1p(Math.exp(-logit)) : logit - Math.log1p(Math.exp(logit));
      placed.set([...means.subarray(3 * n, 3 * n + 3), face[n]], 12 * n);
      const quat = quats.subarray(4 * n, 4 * n + 4), length = Math.max(Math.hypot(...quat), 1e-12);
      placed.set(quat.map((value) => value / length), 12 * n + 4);
      placed.set([...scales.subarray(3 * n, 3 * n + 3).map(Math.exp), opacity], 12 * n + 8);
    }
    for (let k = 0; k < sh.length / 3; k++) painted.set(sh.subarray(3 * k, 3 * k + 3), 4 * k);
    this._texture("gaussians", 0, placed.length);
    this._upload(0, placed);
    this._texture("colours", 1, painted.length);
    this._upload(1, painted);
    this._texture("frames", 2, frames);
  }

  _texture(name, unit, length) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32F, ROW, Math.ceil(length / (4 * ROW)));
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER])
      gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    gl.uniform1i(gl.getUniformLocation(this.program, name), unit);
  }

  _upload(unit, values) {
    const gl = this.gl, whole = Math.floor(values.length / (4 * ROW)), rest = values.length / 4 - whole * ROW;
    gl.activeTexture(gl.TEXTURE0 + unit);
    if (whole) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, whole, gl.RGBA, gl.FLOAT, values, 0);
    if (rest) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, whole, rest, 1, gl.RGBA, gl.FLOAT, values, 4 * ROW * whole);
  }

  // Farthest first, by counting: 65,536 steps of depth between the nearest and the farthest.
  _sort(frames, view) {
    const { face, means, depths, keys, starts, corners, count } = this, [x, y, z, shift] = view[2];
    let near = Infinity, far = -Infinity;
    for (let n = 0; n < count; n++) {
      const f = 12 * face[n], a = means[3 * n], b = means[3 * n + 1], c = means[3 * n + 2];
      const depth = shift +
        x * (frames[f] * a + frames[f + 1] * b + frames[f + 2] * c + frames[f + 3]) +
        y * (frames[f + 4] * a + frames[f + 5] * b + frames[f + 6] * c + frames[f + 7]) +
        z * (frames[f + 8] * a + frames[f + 9] * b + frames[f + 10] * c + frames[f + 11]);
      depths[n] = depth;
      if (depth < near) near = depth;
      if (depth > far) far = depth;
    }
    const factor = 65535 / Math.max(far - near, 1e-9);
    starts.fill(0);
    for (let n = 0; n < count; n++) {
      keys[n] = (far - depths[n]) * factor;
      starts[keys[n] + 1]++;
    }
    for (let k = 1; k < starts.length; k++) starts[k] += starts[k - 1];
    for (let n = count - 1; n >= 0; n--) {
      const at = 6 * starts[keys[n]]++, first = 4 * n;
      corners[at] = first;
      corners[at + 1] = corners[at + 4] = first + 1;
      corners[at + 2] = corners[at + 3] = first + 2;
      corners[at + 5] = first + 3;
    }
  }

  // frames: of Rig or Baked. camera: {view: 3 rows of world to camera (x right, y down, z forward), eye, fov in
  // radians}; background: r, g, b in 0..1.
  draw(frames, camera, background) {
    const gl = this.gl, { width, height } = this.canvas, at = (name) => gl.getUniformLocation(this.program, name);
    this._sort(frames, camera.view);
    this._upload(2, frames);
    gl.bufferSubData(gl.ELEMENT_ARRAY_BUFFER, 0, this.corners);
    const focal = (0.5 * height) / Math.tan(0.5 * camera.fov);
    gl.uniform4fv(at("view"), camera.view.flat());
    gl.uniform3fv(at("eye"), camera.eye);
    gl.uniform2f(at("focal"), focal, focal);
    gl.uniform2f(at("size"), width, height);
    gl.uniform1i(at("terms"), this.terms);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawElements(gl.TRIANGLES, this.corners.length, gl.UNSIGNED_INT, 0);
  }
}
