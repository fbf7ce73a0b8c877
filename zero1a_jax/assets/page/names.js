// What the sliders are called, how they stand together, and which of them are pairs.
"use strict";

// What is no shape: turns in degrees. Names and signs are Live Link's; jawPitch, above 0, opens the jaw.
const TURNS = {
  headYaw: [-60, 60], headPitch: [-35, 35], headRoll: [-30, 30],
  eyeYaw: [-30, 30], eyePitch: [-25, 25], jawPitch: [0, 22],
};
const GROUPS = [
  ["Mouth", /^mouth/], ["Jaw and tongue", /^(jaw|tongue)/], ["Eyelids", /^eye(Blink|Squint|Wide)/],
  ["Gaze", /^(eyeYaw|eyePitch|eyeLook)/], ["Brows", /^brow/], ["Cheeks and nose", /^(cheek|nose)/],
  ["Head", /^head/], ["Other", /./],
];

// The shape on the other side of the face that goes with this one, or undefined.
function partner(name) {
  if (/^(jaw|mouth)(Left|Right)$/.test(name)) return undefined; // these are contraries
  const other = name.replace(/(Left|Right)$/, (side) => (side === "Left" ? "Right" : "Left"));
  const crossed = other.replace(/Look(In|Out)/, (_, way) => (way === "In" ? "LookOut" : "LookIn"));
  return crossed === name ? undefined : crossed;
}
