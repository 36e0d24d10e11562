/** The part of `fs-native-extensions` that is used here. The package has no types of its own. */
declare module "fs-native-extensions" {
  /** Takes an exclusive lock on the open file, or reports that another holder has it. Never waits. */
  export const tryLock: (fd: number) => boolean
}
