// Shows the GLB that the page carries: drag or arrow keys turn it, the wheel or + and - zoom.
(() => {
  const canvas = document.querySelector("canvas");
  const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
  if (!gl || !gl.getExtension("OES_element_index_uint")) {
    canvas.replaceWith("This browser cannot show the 3D model (no WebGL).");
    return;
  }
  const bytes = Uint8Array.from(atob(document.getElementById("glb").textContent.trim()), (c) => c.charCodeAt(0));
  const length = new DataView(bytes.buffer).getUint32(12, true);
  const gltf = JSON.parse(new TextDecoder().decode(bytes.subarray(20, 20 + length)));
  const start = 20 + length + 8; // the header of the binary chunk

  function buffer(index, target) {
    const accessor = gltf.accessors[index];
    const at = start + (gltf.bufferViews[accessor.bufferView].byteOffset || 0) + (accessor.byteOffset || 0);
    const size = accessor.count * (accessor.type === "VEC3" ? 12 : 4);
    const made = gl.createBuffer();
    gl.bindBuffer(target, made);
    gl.bufferData(target, bytes.subarray(at, at + size), gl.STATIC_DRAW);
    return { made, count: accessor.count, accessor };
  }

  // glTF holds colours in linear light; a screen wants the curve of sRGB.
  const onScreen = (light) => (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055);
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  const parts = gltf.nodes
    .filter((node) => node.mesh !== undefined)
    .map((node) => {
      const [primitive] = gltf.meshes[node.mesh].primitives;
      const points = buffer(primitive.attributes.POSITION, gl.ARRAY_BUFFER);
      for (let i = 0; i < 3; i++) {
        low[i] = Math.min(low[i], points.accessor.min[i]);
        high[i] = Math.max(high[i], points.accessor.max[i]);
      }
      return {
        name: node.name,
        points,
        normals: buffer(primitive.attributes.NORMAL, gl.ARRAY_BUFFER),
        triangles: buffer(primitive.indices, gl.ELEMENT_ARRAY_BUFFER),
        color: gltf.materials[primitive.material].pbrMetallicRoughness.baseColorFactor.slice(0, 3).map(onScreen),
      };
    });
  const centre = low.map((value, i) => (value + high[i]) / 2);
  const radius = Math.hypot(...low.map((value, i) => high[i] - value)) / 2;

  function shader(type, text) {
    const made = gl.createShader(type);
    gl.shaderSource(made, text);
    gl.compileShader(made);
    return made;
  }
  const program = gl.createProgram();
  const vertex = `attribute vec3 point, normal; uniform mat3 turn; uniform vec3 centre; uniform vec2 scale;
    varying vec3 facing;
    void main() { vec3 p = turn * (point - centre); facing = turn * normal;
      gl_Position = vec4(p.xy * scale, -p.z * ${(0.9 / radius).toFixed(6)}, 1.0); }`;
  const fragment = `precision mediump float; uniform vec3 color; varying vec3 facing;
    void main() { vec3 n = normalize(facing); float light = 0.35 + 0.65 * max(0.0, dot(n, normalize(vec3(0.3, 0.4, 1.0))));
      gl_FragColor = vec4(color * light, 1.0); }`;
  gl.attachShader(program, shader(gl.VERTEX_SHADER, vertex));
  gl.attachShader(program, shader(gl.FRAGMENT_SHADER, fragment));
  gl.linkProgram(program);
  gl.useProgram(program);
  const place = (name) => gl.getUniformLocation(program, name);
  const attribute = { point: gl.getAttribLocation(program, "point"), normal: gl.getAttribLocation(program, "normal") };
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(0.083, 0.094, 0.11, 1);

  let [yaw, pitch, zoom] = [0.4, 0.15, 1.3];
  function draw() {
    const ratio = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const [s, c, t, d] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
    gl.uniformMatrix3fv(place("turn"), false, [c, s * t, -s * d, 0, d, t, s, -c * t, c * d]);
    gl.uniform3fv(place("centre"), centre);
    const side = Math.min(canvas.width, canvas.height) * (zoom / radius);
    gl.uniform2f(place("scale"), side / canvas.width, side / canvas.height);
    for (const part of parts) {
      const box = document.querySelector(`input[value="${part.name}"]`);
      if (box && !box.checked) continue;
      gl.uniform3fv(place("color"), part.color);
      for (const [name, values] of [["point", part.points], ["normal", part.normals]]) {
        gl.bindBuffer(gl.ARRAY_BUFFER, values.made);
        gl.enableVertexAttribArray(attribute[name]);
        gl.vertexAttribPointer(attribute[name], 3, gl.FLOAT, false, 0, 0);
      }
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, part.triangles.made);
      gl.drawElements(gl.TRIANGLES, part.triangles.count, gl.UNSIGNED_INT, 0);
    }
    canvas.dataset.drawn = parts.length;
  }
  const redraw = () => requestAnimationFrame(draw);
  function turn(dx, dy) {
    yaw += dx;
    pitch = Math.max(-1.57, Math.min(1.57, pitch + dy));
    redraw();
  }
  function closer(factor) {
    zoom = Math.max(0.3, Math.min(8, zoom * factor));
    redraw();
  }
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) turn(event.movementX / 150, event.movementY / 150);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    closer(Math.exp(-event.deltaY / 800));
  });
  canvas.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    if (keys[event.key]) turn(...keys[event.key]);
    else if (event.key === "+" || event.key === "-") closer(event.key === "+" ? 1.1 : 0.9);
    else return;
    event.preventDefault();
  });
  addEventListener("change", redraw);
  addEventListener("resize", redraw);
  draw();
})();
