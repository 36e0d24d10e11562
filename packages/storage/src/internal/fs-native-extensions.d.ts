/** The part of `fs-native-extensions` that is used here; the package has no types of its own. */
declare module "fs-native-extensions" {
  /** Takes an exclusive lock on the open file, or says that somebody else has it. Never waits. */
  export const tryLock: (fd: number) => boolean
}
